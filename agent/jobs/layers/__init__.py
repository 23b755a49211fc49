"""Disks and snapshots as a tree of immutable qcow2 layers: its rules.

What there is
- A *layer* is one qcow2 file; its parent is its backing file. A disk writes to exactly one layer, which has no
  children; every other layer is never written to by a guest. The root of a tree is an overlay on an image's file, or
  empty; a layer's tree is named after that root and never changes.
- A layer is *needed* while a disk writes to it or a snapshot is of it. One that is not needed is garbage. Services
  only give up references, in their transaction, and call `enqueue_collect`; nobody but the collector removes files.

What is done with it
- New disk, roll back, re-initialise: a new overlay on a layer or an image. Take a snapshot: a new overlay on the
  layer that is written to, which becomes the snapshot's (`take`).
- Collect (`collect`): garbage without children is deleted; garbage with one child takes over that child's content and
  place (`merge`); garbage with several children waits, hidden, until one is left.
- Read a snapshot for long (copy, export): inside `turns.reading(tree)`, and look up its layer after that. Nothing is
  merged or removed in the tree meanwhile; everything short goes on. After a crash nobody reads.

What holds at every moment, also after a crash
- The store knows every layer before its file exists, and forgets it after the file is gone.
- A merge writes the child c into f. From its first write on, f alone means nothing (state `merging`) but c on top of
  f means what it always did: so it may be interrupted, repeated, or go on in another way, at any time.
- A disk goes over to a new layer in the store first, then in the running guest (`live`): the new layer is empty, so
  whoever starts the guest in between starts it from the right content.
- The store refers to f only when all of c is in it and on the disk; c's file is there until nothing refers to c.
- Whoever opens or changes files of a tree has its turn (`turns`), and reads the store after having it: merging, which
  may take long, gives way.

How long a chain gets: a layer that is not needed stays only where several others stand on it, or right below the one
that a running guest writes to, or where several running guests have it open. So there are at most twice as many layers
as disks and snapshots, and one more for each running disk.
"""
