//! skep net: the kernel's own tables, with names.
