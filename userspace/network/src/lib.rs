//! Pods and nodes to addresses, links, routes and tables; the CNI plugin.
