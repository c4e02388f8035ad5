#!/usr/bin/env bash
# setup.sh DEST VARIANT: builds at DEST a Rails application with all its gems
# inside the tree, from Debian's packages, which are unpacked and never
# installed. VARIANT (mid or full) says which of ../gemfiles it uses.
#
# DEST must not exist or be empty. The tree is built beside it and renamed into
# place as the last step, so an interrupted set-up leaves no half tree.
# Needs no root. Progress goes to stderr, one line per step. Status: 0 done,
# 1 failed, 2 wrong usage, 3 the machine lacks something (the line says what).
#
# Besides the application, DEST/.osxfs-sim holds packages.txt (name=version of
# all that was unpacked), variant, and tasks.txt (what `rake -T` printed).
set -euo pipefail
export LC_ALL=C

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd -P)
. "$here/env.sh"

say() { printf 'rake set-up: %s\n' "$*" >&2; }

# quietly LOG COMMAND...: keeps what COMMAND says for the case that it fails.
quietly() {
  local log=$1
  shift
  # In a subshell, because COMMAND may exec.
  ("$@") >"$log" 2>&1 || {
    tail -n 20 -- "$log" >&2
    return 1
  }
}

# The gems that a Gemfile names, as Debian packages. The package `rails` draws
# in more than the gem of that name, all that Debian thinks a Rails developer
# wants: the rest lies in the gem home unused, as in most grown gem homes.
packages_of() {
  local gem
  sed -n "s/^[[:space:]]*gem '\([^']*\)'.*/\1/p" -- "$1" | while read -r gem; do
    case $gem in
      rails | rake) printf '%s\n' "$gem" ;;
      *) printf 'ruby-%s\n' "${gem//_/-}" ;;
    esac
  done
}

# All Ruby packages that the given ones depend on. Left out: Bundler and
# RubyGems, which the machine's Ruby brings, and bundled gems of Ruby that
# only a dependency of Debian's own packaging draws in. Added: rake and
# webrick, which are gems but no ruby-* dependency of anything here, and the
# library that sassc loads. The pattern drops packages of foreign
# architectures (name:arch).
closure_of() {
  {
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
      --no-breaks --no-replaces --no-enhances "$@" |
      grep -E '^ruby-[a-z0-9.+-]+$' |
      grep -vxE 'ruby-(bundler|rubygems|net-telnet|sdbm|xmlrpc)'
    printf '%s\n' rake ruby-webrick libsass1
  } | sort -u
}

# lay_out UNPACKED GEM_HOME: puts the gems of one unpacked package where
# `gem install` would have put them.
#
# Debian spreads a gem over several places: the specification and, for some,
# the gem's directory below .../rubygems-integration/; for others the library
# in Ruby's vendor_ruby; compiled parts in .../extensions/ or in
# vendor_ruby/ABI. A specification says nothing of the place, so the same
# specification works from a gem home, once each gem has a lib of its own.
lay_out() {
  local root=$1 gem_home=$2 spec full_name gem dir
  local -a specs
  mapfile -t specs < <(find "$root" -type f -path '*/specifications/*.gemspec' | sort)
  for spec in "${specs[@]}"; do
    full_name=$(basename -- "$spec" .gemspec)
    gem=$gem_home/gems/$full_name
    mkdir -p -- "$gem/lib"
    cp -- "$spec" "$gem_home/specifications/"

    while IFS= read -r dir; do
      cp -a -- "$dir/." "$gem/"
    done < <(find "$root" -type d -path "*/rubygems-integration/*/gems/$full_name")

    while IFS= read -r dir; do
      cp -a -- "$dir/." "$gem/lib/"
    done < <(find "$root/usr/lib" -type d -name vendor_ruby 2>/dev/null)
    if [[ -d $gem/lib/$abi ]]; then
      cp -a -- "$gem/lib/$abi/." "$gem/lib/"
      rm -r -- "${gem:?}/lib/$abi"
    fi

    # RubyGems puts compiled parts both here and into lib.
    while IFS= read -r dir; do
      mkdir -p -- "$gem_home/extensions/$platform/$abi/$full_name"
      cp -a -- "$dir/." "$gem_home/extensions/$platform/$abi/$full_name/"
      cp -a -- "$dir/." "$gem/lib/"
    done < <(find "$root" -type d -path "*/extensions/*/$abi/$full_name")
  done
}

# Ends the script when a compiled part was built for another Ruby, or needs a
# shared library that this machine has not.
check_compiled() {
  local file package
  local -a wanted=()
  while IFS= read -r file; do
    [[ $file == */ruby/vendor_ruby/"$abi"/* || $file == */extensions/*/"$abi"/* ||
      $file == */rubygems-integration/"$abi"/* ]] ||
      fail "$(basename -- "$file") is not built for Ruby $abi; is the ruby on the PATH Debian's own?"
    [[ $(ldd "$file" 2>/dev/null) == *'not found'* ]] || continue
    package=${file#"$work"/unpacked/}
    package=${package%%/*}
    mapfile -t -O "${#wanted[@]}" wanted < <(
      dpkg-deb -f "$work/debs/$package.deb" Depends | tr ',' '\n' |
        sed 's/^ *//; s/[ |(:].*//' | grep '^lib' | grep -vE '^lib(c6|ruby)'
    )
  done < <(find "$work/unpacked" -type f -name '*.so' -path '*/usr/lib/*' -path '*ruby*')
  [[ ${#wanted[@]} -eq 0 ]] ||
    lacking "shared libraries are missing; run: apt-get install --no-install-recommends $(
      printf '%s\n' "${wanted[@]}" | sort -u | paste -sd ' ')"
}

# Debian's sassc loads the system's libsass; the gem as published carries its
# own beside its code. The latter is what a project with its gems inside the
# share has, and needs nothing installed.
bring_libsass() {
  local gem library
  gem=$(find "$1/gems" -maxdepth 1 -type d -name 'sassc-[0-9]*')
  [[ -n $gem ]] || return 0
  library=$(find "$work/unpacked/libsass1" -type f -name 'libsass.so.*')
  [[ -n $library ]] || fail "package libsass1 holds no libsass.so"
  cp -- "$library" "$gem/lib/sassc/libsass.so"
  chmod 755 -- "$gem/lib/sassc/libsass.so"
  # shellcheck disable=SC2016 # Ruby's own interpolation
  sed -i 's|^\( *ffi_lib \).*|\1File.expand_path("libsass.#{dl_ext}", __dir__)|' \
    "$gem/lib/sassc/native.rb"
  grep -q 'ffi_lib File.expand_path' "$gem/lib/sassc/native.rb" ||
    fail "sassc's native.rb is not as expected: cannot point it at the libsass in the tree"
}

# Some gems link to JavaScript libraries of other packages, by paths that hold
# only where Debian installs them. Whether such a link leads anywhere would
# depend on the machine, so none is kept; no rake task needs one.
drop_outward_links() {
  local link
  while IFS= read -r link; do
    [[ $(realpath -m -- "$link") == "$1"/* ]] || rm -- "$link"
  done < <(find "$1" -type l)
}

# ---- arguments and machine ------------------------------------------------

[[ $# -eq 2 ]] || { echo "usage: ${0##*/} DEST mid|full" >&2; exit 2; }
dest=${1%/}
variant=$2
gemfile=$here/../gemfiles/$variant
[[ $variant == mid || $variant == full ]] || { echo "${0##*/}: VARIANT is mid or full, not '$variant'" >&2; exit 2; }
[[ -n $dest ]] || { echo "${0##*/}: DEST is empty" >&2; exit 2; }
if [[ -e $dest || -L $dest ]]; then
  [[ -d $dest && ! -L $dest && -z $(ls -A -- "$dest") ]] || fail "$dest exists and is not an empty directory"
fi

for command in apt-get apt-cache dpkg-deb ldd; do
  command -v -- "$command" >/dev/null 2>&1 ||
    lacking "'$command' is missing: this case is made of Debian's packages, on Debian only"
done
need_ruby

read -r abi platform < <(env -i PATH="$PATH" ruby -e \
  'puts [RbConfig::CONFIG["ruby_version"], Gem::Platform.local].join(" ")')

mapfile -t named < <(packages_of "$gemfile")

# Without package lists apt knows none of them.
known=$(apt-cache show --no-all-versions "${named[@]}" 2>/dev/null |
  sed -n 's/^Package: //p' | sort -u) || true
for package in "${named[@]}"; do
  grep -qxF -- "$package" <<<"$known" ||
    lacking "apt knows no package '$package'; run: apt-get update"
done

# ---- build ----------------------------------------------------------------

dest=$(realpath -m -- "$dest")
mkdir -p -- "$(dirname -- "$dest")"
work=$(mktemp -d -- "$dest.partial.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "variant $variant, Ruby $abi on $platform"
mapfile -t packages < <(closure_of "${named[@]}")

say "downloading ${#packages[@]} packages"
mkdir -- "$work/debs" "$work/unpacked"
apt_options=(-q -o Acquire::Retries=3)
# As root apt would fetch as its own user, who may not write here.
[[ $EUID -ne 0 ]] || apt_options+=(-o APT::Sandbox::User=root)
(cd -- "$work/debs" && quietly "$work/apt.log" apt-get "${apt_options[@]}" download "${packages[@]}") ||
  lacking "download failed (the last lines are above); if a package was not found, run: apt-get update"

say "unpacking"
: >"$work/packages.txt"
for deb in "$work"/debs/*.deb; do
  package=$(dpkg-deb -f "$deb" Package)
  printf '%s=%s\n' "$package" "$(dpkg-deb -f "$deb" Version)" >>"$work/packages.txt"
  mkdir -- "$work/unpacked/$package"
  dpkg-deb -x "$deb" "$work/unpacked/$package"
  mv -- "$deb" "$work/debs/$package.deb"
done
[[ $(wc -l <"$work/packages.txt") -eq ${#packages[@]} ]] || fail "not every package was downloaded"
check_compiled

say "laying out the gem home"
gem_home=$work/gems
mkdir -p -- "$gem_home/gems" "$gem_home/specifications"
for root in "$work"/unpacked/*/; do
  lay_out "${root%/}" "$gem_home"
done
bring_libsass "$gem_home"
drop_outward_links "$gem_home"

say "generating the application"
# In an empty environment, as in exec_in_tree, but there is no tree yet.
mkdir -- "$work/home"
(
  cd -- "$work"
  quietly "$work/rails-new.log" \
    env -i PATH="$PATH" LANG=C.UTF-8 HOME="$work/home" \
    GEM_HOME="$gem_home" GEM_PATH="$gem_home:$(gems_of_ruby)" \
    ruby -e 'load Gem.activate_bin_path("railties", "rails", ">= 0.a")' -- \
    new app --skip-bundle --skip-git --skip-javascript \
    --skip-webpack-install --skip-spring --database=sqlite3
) || fail "rails new failed"

app=$work/app
mkdir -p -- "$app/vendor" "$app/.bundle" "$app/.osxfs-sim" "$app/tmp/home"
mv -- "$gem_home" "$app/vendor/gems"
cp -- "$gemfile" "$app/Gemfile"
sort -- "$work/packages.txt" >"$app/.osxfs-sim/packages.txt"
printf '%s\n' "$variant" >"$app/.osxfs-sim/variant"
sed -i -E "s|^require ['\"]bootsnap/setup['\"].*|require 'bootsnap/setup' if ENV['BOOTSNAP']|" \
  "$app/config/boot.rb"
grep -q "if ENV\['BOOTSNAP'\]" "$app/config/boot.rb" ||
  printf "require 'bootsnap/setup' if ENV['BOOTSNAP']\n" >>"$app/config/boot.rb"

say "bundle install --local"
quietly "$work/bundle.log" exec_in_tree "$app" bundle install --local ||
  fail "bundle install failed"

# ---- check, then put in place ---------------------------------------------

# The tree is moved before it is tried, so that a path of the building place
# left in it cannot go unnoticed: it would not lead anywhere any more.
tree=$work/tree
mv -- "$app" "$tree"
if grep -rlF -- "$work" "$tree" >&2; then
  fail "the files above contain the path they were built at"
fi

say "trying rake -T"
BOOTSNAP='' "$here/run.sh" "$tree" >"$work/tasks.txt" 2>"$work/rake.log" || {
  tail -n 20 -- "$work/rake.log" >&2
  fail "rake -T failed"
}
grep -q '^rake db:migrate ' "$work/tasks.txt" || fail "rake -T printed no db:migrate"
mv -- "$work/tasks.txt" "$tree/.osxfs-sim/tasks.txt"

# mv -T renames onto an empty directory, and refuses any other.
mv -T -- "$tree" "$dest"
say "done: $(wc -l <"$dest/.osxfs-sim/tasks.txt") tasks, $(find "$dest" -type f | wc -l) files, $(du -sm -- "$dest" | cut -f1) MB"
