//! Services and EndpointSlices to tables.
