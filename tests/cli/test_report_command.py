"""``osxfs-sim report``: what it writes, and what it refuses in one line."""

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import reporting
from support.command import Command

import osxfs_sim
from osxfs_sim.cli import main
from osxfs_sim.lab.results import save_result

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.fixture(scope="session")
def report(cli: Command):
    def report(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        return cli("report", *words, cwd=cwd, python=("-W", "error"))

    return report


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A comparison with a trace of one run beside it."""
    comparison = reporting.comparison(6)
    (tmp_path / "traces").mkdir()
    reporting.write_trace(tmp_path / "traces" / "osxfs.parquet")
    comparison.samples[1].trace = "traces/osxfs.parquet"
    save_result(comparison, tmp_path / "rake.json")
    return tmp_path / "rake.json"


def test_a_page_and_each_plot_as_a_file(report, result, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = report(result, "--plots", "figures", cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "Trace of osxfs (fresh)" in (elsewhere / "report.html").read_text()
    assert sorted(os.listdir(elsewhere / "figures")) == [
        "rake-attribution.svg",
        "rake-latencies.svg",
        "rake-requests-over-time.svg",
        "rake-wall-times.svg",
    ]
    assert sorted(os.listdir(elsewhere)) == ["figures", "report.html"], "nothing is left beside it"


def test_two_results_of_one_case_have_plots_of_their_own_as_png(report, tmp_path):
    words = (RESULTS / "rake-mid.json", RESULTS / "rake-complete.json", "--output", "both.md")
    done = report(*words, "--plots", ".", "--plot-format", "png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pictures = sorted(each for each in os.listdir(tmp_path) if each.endswith(".png"))
    assert pictures == [
        "rake-latencies-2.png",
        "rake-latencies.png",
        "rake-wall-times-2.png",
        "rake-wall-times.png",
    ]
    assert (tmp_path / pictures[0]).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "both.md").read_text().count("# rake -T of a Rails application") == 2


def test_the_suffix_says_the_format_and_a_dash_is_standard_output(report, result, tmp_path):
    assert report(result, "--output", "samples.csv", cwd=tmp_path).returncode == 0
    text = (tmp_path / "samples.csv").read_bytes().decode()
    assert len(list(csv.DictReader(io.StringIO(text, newline="")))) == 18
    done = report(result, "--output", "-", "--format", "markdown", cwd=tmp_path)
    assert done.stdout.startswith("# rake -T of a Rails application\n")


def test_a_trace_alone_has_a_page(report, tmp_path):
    reporting.write_trace(tmp_path / "one.parquet")
    done = report("--trace", "one.parquet", "--output", "one.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Trace of one.parquet" in (tmp_path / "one.html").read_text()


def test_the_page_template_is_part_of_the_package():
    assert (Path(osxfs_sim.__file__).parent / "report" / "page.html.j2").is_file()


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nothing to report: name a RESULT, or a trace with --trace FILE"),
        (["gone.json"], "gone.json cannot be read: No such file or directory"),
        (["."], ". cannot be read: Is a directory"),
        (["foreign.json"], "foreign.json is no result: save one with"),
        (["broken.json"], "broken.json is no result: it is not JSON"),
        (["rake.json", "--output", "report.txt"], "end it in .html, .md or .csv"),
        (["rake.json", "--output", "-"], "say --format markdown, csv or html"),
        (["rake.json", "--output", "no/report.html"], "its directory does not exist"),
        (["rake.json", "--output", "rake.json", "--format", "csv"], "is what the report is about"),
        (["rake.json", "--plot-format", "png"], "--plot-format has no effect without --plots"),
        (["rake.json", "--trace", "foreign.json", "--format", "csv"], "--trace has no effect"),
        (["--format", "csv", "--output", "x.csv"], "nothing to report"),
        (["--trace", "foreign.json"], "foreign.json is not a trace"),
        (["--trace", "gone.parquet"], "gone.parquet is not a trace"),
        (["rake.json", "--plots", "rake.json"], "rake.json"),
        (
            ["bad-receipt.json"],
            "bad-receipt.json is damaged: a receipt's target_histogram cannot be",
        ),
    ],
)
@pytest.mark.usefixtures("result")
def test_a_mistake_is_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, words, why):
    (tmp_path / "foreign.json").write_text('{"name": "app", "dependencies": {}}')
    (tmp_path / "broken.json").write_text("{")
    bad = reporting.comparison(1)
    bad.samples[1].share["receipt"]["metadata"]["target_histogram"] = "no histogram"
    save_result(bad, tmp_path / "bad-receipt.json")
    before = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["report", *words])
    assert end.value.code in (1, 2)
    told = capsys.readouterr().err.splitlines()
    lines = [line for line in told if not line.startswith("  analyzing")]
    assert len(lines) == 1
    assert why in lines[0]
    assert lines[0].startswith("osxfs-sim: ")
    assert sorted(os.listdir(tmp_path)) == before


def test_what_was_there_stays_when_writing_fails(cli: Command, result, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("bash is missing")
    kept = tmp_path / "report.html"
    kept.write_text("as it was")
    # No file may grow beyond a block: as a full disk.
    program = cli.line("report", result, "--output", kept)
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "bash", *program],
        env=cli.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "report.html cannot be written: File too large" in done.stderr
    assert kept.read_text() == "as it was"
    assert not list(tmp_path.glob(".*.new"))
