//! Loads, attaches, pins and upgrades the programs; typed handles on the pinned maps.
