//! Peers that stop: they do not read, do not grant a window, or do not send the rest.

use std::time::{Duration, Instant};

use super::super::{BROKEN, public};
use super::{CUT_WITHIN, STOPPED, has_ended, id, open};
use crate::hostile::HostileWorld;
use crate::support::h2::{
    Connection, Head, PREFACE, State, continuation, data, flag, frame, kind, setting, settings,
    window_update,
};
use crate::support::lateness::slack;
use crate::support::{Act, Gate, Reply};

/// CVE-2019-9517 and its kin: responses that no window lets pass. They are cut, as any body is that
/// makes no progress.
pub(super) fn starved_windows(world: &HostileWorld) -> Result<(), String> {
    answer_large(world, 1 << 20);
    let mut connection =
        Connection::raw(world.keyward.address()).with_timeout(CUT_WITHIN).without_grants();
    connection.begin(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    for nth in 0..100 {
        connection.send(Head::get("/public/large").whole(id(nth)));
    }
    let is_over = |state: &State| (0..100).all(|nth| state.is_over(id(nth)));
    if connection.read_until(|state| has_ended(state) || is_over(state)) {
        return Ok(());
    }
    let open = connection.state.streams.values().filter(|stream| !stream.is_over()).count();
    Err(format!("{open} streams are open without progress"))
}

/// The windows are open, and the socket is not read.
pub(super) fn unread_responses(world: &HostileWorld) -> Result<(), String> {
    answer_large(world, 8 << 20);
    let began = Instant::now();
    let mut connection =
        Connection::raw(world.keyward.address()).with_timeout(CUT_WITHIN).without_grants();
    connection.begin(&[(setting::INITIAL_WINDOW_SIZE, i32::MAX as u32)]);
    connection.send(window_update(0, i32::MAX as u32 - 65_535));
    for nth in 0..16 {
        connection.send(Head::get("/public/large").whole(id(nth)));
    }
    // What nothing is read of cannot be seen to end, but at the upstream: its exchanges do.
    let open = || world.upstream.open_connections();
    while open() > 4 {
        if began.elapsed() > CUT_WITHIN + slack(began, Instant::now()) {
            return Err(format!("{} connections to the upstream are held", open()));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

/// Has the upstream answer `/public/large` with this many bytes.
fn answer_large(world: &HostileWorld, size: usize) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    world
        .upstream
        .answer("/public/large", Reply::bytes([head.as_bytes(), &vec![b'a'; size]].concat()));
}

pub(super) fn stopped_prefaces(world: &HostileWorld) -> Result<(), String> {
    let whole = [PREFACE, &settings(&[])].concat();
    for length in [1, 3, 12, 23, 24, 28, 33] {
        let mut connection = Connection::raw(world.keyward.address()).with_timeout(CUT_WITHIN);
        connection.send(&whole[..length]);
        if !connection.closes() {
            return Err(format!("a connection is open that stopped after {length} bytes"));
        }
    }
    Ok(())
}

/// A byte from time to time is no progress: the timeout is that of the whole head.
pub(super) fn dripping_head(world: &HostileWorld) -> Result<(), String> {
    for in_pieces in [false, true] {
        let began = Instant::now();
        let mut connection =
            Connection::raw(world.keyward.address()).with_timeout(Duration::from_millis(100));
        connection.begin(&[]);
        let block = public().with("x-a", "a".repeat(1000)).block();
        let whole = frame(kind::HEADERS, flag::WHOLE, 1, &block);
        connection.send(if in_pieces {
            frame(kind::HEADERS, 1, 1, "")
        } else {
            whole[..9].to_vec()
        });
        for byte in block {
            if has_ended(&connection.state) || connection.state.is_over(1) {
                break;
            }
            if began.elapsed() > CUT_WITHIN + slack(began, Instant::now()) {
                return Err(format!(
                    "a head is read for {:?}, in pieces: {in_pieces}",
                    began.elapsed()
                ));
            }
            connection.send(if in_pieces { continuation(1, 0, [byte]) } else { vec![byte] });
            connection.read_until(|state| has_ended(state) || state.is_over(1));
        }
    }
    Ok(())
}

pub(super) fn stopped_body(world: &HostileWorld) -> Result<(), String> {
    let mut connection = open(world);
    for nth in 0..50 {
        connection.send(Head::post(BROKEN).frame(id(nth), flag::END_HEADERS));
        connection.send(data(id(nth), 0, "hello"));
    }
    let is_over = |state: &State| (0..50).all(|nth| state.is_over(id(nth)));
    if !connection.read_until(|state| has_ended(state) || is_over(state)) {
        let open = connection.state.streams.values().filter(|stream| !stream.is_over()).count();
        return Err(format!("{open} streams wait for bodies that do not come"));
    }
    let passed =
        connection.state.streams.values().filter(|stream| stream.status == Some(200)).count();
    if passed == 0 { Ok(()) } else { Err(format!("{passed} halves were taken for whole requests")) }
}

/// The upstream does not read, and the client sends more than it was granted.
pub(super) fn beyond_the_window(world: &HostileWorld) -> Result<(), String> {
    let gate = Gate::default();
    world.upstream.answer(BROKEN, Reply::acts([Act::Wait(gate.clone())]).early());
    let piece = data(1, 0, [b'a'; 16_384]);
    let is_cut = |state: &State| has_ended(state) || state.is_over(1);
    let mut connection = open(world).without_grants();
    connection.send(Head::post(BROKEN).frame(1, flag::END_HEADERS));
    let mut sent = 0;
    // Beyond what the windows and the sockets between keyward and the upstream can hold.
    while sent < 64 << 20
        && !is_cut(&connection.state)
        && connection.try_send(&piece, STOPPED).is_ok()
    {
        connection.glance();
        sent += 16_384;
    }
    let is_cut = connection.read_until(is_cut);
    let result = if is_cut { Ok(()) } else { Err(format!("{} MiB were taken", sent >> 20)) };
    gate.open();
    result
}
