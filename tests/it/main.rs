//! Behaviour through the socket, one file per stage.
