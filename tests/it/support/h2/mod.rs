//! A raw HTTP/2 client (RFC 9113): frames are written byte by byte and checked by nothing, so that
//! a test sends what no library would; what comes back is read by the letter, and what is wrong
//! with it is kept in [`State::odd`].

mod connection;
mod frames;
mod head;
mod state;

pub(crate) use connection::Connection;
pub(crate) use frames::{
    PREFACE, code, continuation, data, flag, frame, kind, ping, priority, reset, setting, settings,
    window_update,
};
pub(crate) use head::Head;
pub(crate) use state::{State, Stream};
