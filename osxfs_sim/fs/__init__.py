"""Files in trees that others may change meanwhile: reached, made and changed by descriptor.

A path is walked by the kernel each time that it is used, and whoever may write a directory
on the way decides where it leads. So what is done with rights that others lack is done to a
descriptor of an object that was checked (at.py), and what a command writes for its user is
written by one function (output.py), and what was named is read within bounds (reading.py).
tests/test_privileged_operations.py holds it.

    at         privileged operations by descriptor, and ways to an object that nobody can turn aside
    copies     copies what a file holds, its holes left out, and shared with it where the host can
    output     the files that a command writes for its user: results, reports, pictures,
               manifests, traces
    reading    files that people name, read with a bound: whatever lies there, and however large
               it is
    tree_copy  copies a directory with all that it is, while others may change it, and follows
               nothing
"""
