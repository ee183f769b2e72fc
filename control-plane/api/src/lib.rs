//! Kinds as data: schemas, codecs, defaults, validation, patches, tables.
