"""Write-back: changes of the guest that the host gets later (docs/write-back.md).

A pending change lives in five places: in the list of what must cross (model/write_back.py), in
the journal's records, in its data, in the overlay of each object that it is about (Inode.overlay),
and in what keeps those objects at hand: the table of inodes, and descriptors. Between two
steps, always:

* List and journal: what a crash would find unfinished in the journal is the list, in its order,
  and nothing of it has a number at or below the one that the journal calls done.
* List and overlay: an object has an overlay as long as the list has a change in which it takes
  part, and the overlay counts just those; names and links in it are what these changes made of
  them, and an object is local-only as long as its MAKE is in the list. What has lost its last
  name before the host had it keeps an overlay without changes, for who has it open.
* Overlay and data: the bytes that are shown of a file are those of its writes in the list, or,
  without a name, its own; the journal keeps these bytes, each once, and no others.
* Pending and table: every object that a change in the list is about, and every directory by
  which one is reached, is in the table of inodes.
* Overlay and descriptors: a descriptor to write through is of that very object on the host, of
  one overlay's alone, and closed with it.

invariant.py says where this does not hold; the tests ask it after each step.

handlers             the layer of requests that defers changes; next: written through
lookup               LOOKUP: the guest's names, or else the host's
making               MKNOD, MKDIR, SYMLINK, LINK
removing             UNLINK, RMDIR
renaming             RENAME
attributes           GETATTR, SETATTR, READLINK, ACCESS; extended attributes are the host's
files                OPEN, CREATE, READ, WRITE, RELEASE: dirty bytes are the journal's
directories          OPENDIR, READDIRPLUS, RELEASEDIR
fsync                FLUSH, FSYNC, FSYNCDIR: what happens to dirty data at fsync(2)

deferral             may a change be pending for a while, or must the host have it at once?
deferring            answers what is deferred, when there is room for it
write_through        has the host do what is not, after what it depends on
server_rights        what a server that is not root may do
guest_view           which inode a name is for the guest, and how what is pending is shown of it
overlay_layers       the layers that lay that over the host's part of requests, and of listings
guest_side           what becomes of that when the host gets it, or does not take it
overlay              what is pending of an object, laid over the host's answers
pending_state        begins and ends what is pending: list, journal, overlay and data in step
pending_descriptors  by which files are written to, so that not too many are open
invariant            checks that these say the same, for tests

journal              keeps it beyond the server's end: a write-ahead log
journal_data         the bytes of its writes
journal_format       what its files say, as bytes and as values
journal_directory    where journals lie, whose they are, who may touch them
journal_reader       what a server has left behind in one, after a crash

writeback            waits, and has changes made on the host in time and in order
effects              what making a change on the host has done there, as values
effect_applier       keeps what a server knows of the host true to that
host_writer          makes one change on the host, whatever that did meanwhile
host_places          where things are there, and what is in the way
host_contents        content and attributes of them, by descriptors
restoring            what is made again is as the guest was shown it
conflicts            what of the host's changes was lost, or kept

room                 whether the host has room for what is pending, and what it says itself
set_aside            what the host will never take: reported once, shown no more
quarantine           where that is kept, apart from what is still on its way
sync_errors          what fsync(2) has to say of it
machine_sync         tells of sync(2), for which the kernel does not wait

unwritten            what a share that ended badly has left: listed, saved, or given up
recovery             writes it to the host
inode_resolver       the objects that an unfinished journal speaks of
recovery_progress    how far that has got, for the next one
draining             waits for the journal of a share that is unmounted and still writes back
"""
