//! Floods of frames and of streams.

use super::super::{BROKEN, public};
use super::{expect_end, has_ended, id, open, send_all};
use crate::hostile::HostileWorld;
use crate::support::h2::{
    Head, State, code, data, flag, frame, ping, priority, reset, setting, settings, window_update,
};
use crate::support::{Act, Gate, Reply, eventually};

/// CVE-2023-44487.
pub(super) fn rapid_resets(world: &HostileWorld) -> Result<(), String> {
    let pair = |nth| [public().whole(id(nth)), reset(id(nth), code::CANCEL)].concat();
    expect_end(&mut open(world), 200, |batch| {
        (0..100).flat_map(|nth| pair(100 * batch + nth)).collect()
    })
}

/// Each stream is seen to be accepted before it is reset: its request is under way.
pub(super) fn slow_resets(world: &HostileWorld) -> Result<(), String> {
    let gate = Gate::default();
    world.upstream.answer(BROKEN, Reply::acts([Act::Wait(gate.clone())]));
    let mut connection = open(world);
    for nth in 0..1000 {
        connection.send([Head::get(BROKEN).whole(id(nth)), ping(0, [1; 8])].concat());
        connection.read_until(|state| has_ended(state) || state.pongs.len() > nth);
        connection.send(reset(id(nth), code::CANCEL));
        if has_ended(&connection.state) {
            break;
        }
    }
    gate.open();
    // An exchange whose stream was reset is over, and so is its connection to the upstream.
    let open = || world.upstream.open_connections();
    if eventually(|| open() <= 20) {
        Ok(())
    } else {
        Err(format!("{} connections are left", open()))
    }
}

/// CVE-2025-8671: nothing is reset by the client.
pub(super) fn made_resets(world: &HostileWorld) -> Result<(), String> {
    let get = |nth: usize| Head::get(BROKEN).whole(id(nth));
    let wrong = |nth: usize| match nth % 2 {
        0 => data(id(nth), flag::END_STREAM, "x"),
        _ => window_update(id(nth), i32::MAX as u32),
    };
    expect_end(&mut open(world), 200, |batch| {
        (100 * batch..100 * batch + 100).flat_map(|nth| [get(nth), wrong(nth)].concat()).collect()
    })
}

/// RUSTSEC-2026-0258.
pub(super) fn empty_data(world: &HostileWorld) -> Result<(), String> {
    expect_end(&mut open(world), 200, |batch| match batch {
        0 => Head::post(BROKEN).frame(1, flag::END_HEADERS),
        _ => data(1, 0, "").repeat(1000),
    })
}

/// CVE-2019-9515.
pub(super) fn unread_settings(world: &HostileWorld) -> Result<(), String> {
    let frames = settings(&[]).repeat(5000);
    send_all(&mut open(world), 200, |_| frames.clone());
    Ok(())
}

/// CVE-2019-9512.
pub(super) fn unread_pings(world: &HostileWorld) -> Result<(), String> {
    let frames = ping(0, [7; 8]).repeat(5000);
    send_all(&mut open(world), 100, |_| frames.clone());
    Ok(())
}

pub(super) fn priorities(world: &HostileWorld) -> Result<(), String> {
    send_all(&mut open(world), 100, |batch| {
        let streams = 10_000 * batch..10_000 * (batch + 1);
        streams.flat_map(|nth| priority(id(nth), id(nth + 1), 7)).collect()
    });
    Ok(())
}

pub(super) fn window_updates(world: &HostileWorld) -> Result<(), String> {
    let frames = window_update(0, 1).repeat(5000);
    send_all(&mut open(world), 100, |_| frames.clone());
    Ok(())
}

pub(super) fn unknown_frames(world: &HostileWorld) -> Result<(), String> {
    let frames = frame(0xf0, 0, 1, [7; 100]).repeat(1000);
    send_all(&mut open(world), 100, |_| frames.clone());
    Ok(())
}

pub(super) fn many_streams(world: &HostileWorld) -> Result<(), String> {
    const STREAMS: usize = 1000;
    world.upstream.take();
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    world
        .upstream
        .answer("/public/held", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer.into())]));
    let mut connection = open(world);
    if !connection.read_until(|state| state.settings.contains_key(&setting::MAX_CONCURRENT_STREAMS))
    {
        return Err("the server names no limit of streams".into());
    }
    let limit = connection.state.settings[&setting::MAX_CONCURRENT_STREAMS] as usize;
    if !(1..STREAMS).contains(&limit) {
        return Err(format!("{limit} streams are allowed"));
    }
    for nth in 0..STREAMS {
        connection.send(Head::get("/public/held").whole(id(nth)));
    }
    let refused = |state: &State| {
        let is_refused = |nth: &usize| state.stream(id(*nth)).reset == Some(code::REFUSED_STREAM);
        (0..STREAMS).filter(is_refused).count()
    };
    let all_are =
        connection.read_until(|state| has_ended(state) || refused(state) >= STREAMS - limit);
    let under_way =
        world.upstream.take().heads.iter().filter(|target| *target == "/public/held").count();
    gate.open();
    if under_way > limit {
        return Err(format!("{under_way} of at most {limit} are under way"));
    }
    if !all_are {
        return Err(format!("{} are refused", refused(&connection.state)));
    }
    if has_ended(&connection.state) {
        return Ok(());
    }
    let answered = |state: &State| state.streams.values().filter(|stream| stream.is_ended).count();
    if connection.read_until(|state| answered(state) == limit) {
        return Ok(());
    }
    Err(format!("{} of {limit} are answered", answered(&connection.state)))
}
