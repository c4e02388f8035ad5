"""What the names of a share lead to, and what becomes of that when they change.

Above the tree and the watch of the host, both of which it keeps true; below all who ask.

identities  which inode a name of the host's is
namespace   gives and takes names on the host, and keeps what is known of them
"""
