//! What a watch sends: frames, made once for each revision and encoding and shared by all watchers.

mod feed;
mod stream;
mod views;

pub(crate) use feed::Feed;
pub(crate) use stream::Stream;
pub(crate) use views::Views;
