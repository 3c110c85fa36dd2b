//! Floods, each bounded in count and time: others are served meanwhile, memory is bounded, and the
//! connection that floods ends or is held within limits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{BROKEN, public, sentinel};
use crate::hostile::Range;
use crate::support::h2::{
    Connection, Head, State, code, continuation, data, flag, frame, kind, ping, priority, reset,
    setting, settings, window_update,
};
use crate::support::hpack::{index, indexed_literal, literal};
use crate::support::lateness::slack;
use crate::support::{Act, Gate, Plan, Reply, Upstream, eventually};

/// What one connection may cost, and everything else that happens meanwhile: 100 streams with what
/// is buffered for each, in a build that is not optimised.
const MOST_MEMORY: usize = 64 << 20;

/// How long a client may take to get an answer on a new connection while another client floods.
const SERVED_WITHIN: Duration = Duration::from_secs(5);

/// A peer that does not take bytes for so long has stopped reading, which is one way to hold a
/// flood.
const STOPPED: Duration = Duration::from_secs(2);

/// What has stopped is cut after 2 s in these tests; how much later at most.
const CUT_WITHIN: Duration = Duration::from_secs(12);

/// A part of the flood's tests that plays one.
type Attack = fn(&Range) -> Result<(), String>;

const FLOODS: [(&str, Attack); 22] = [
    ("rapid resets", rapid_resets),
    ("resets of streams that were accepted", slow_resets),
    ("resets that the server is made to send (MadeYouReset)", made_resets),
    ("header blocks without a field", empty_blocks),
    ("CONTINUATION without an end", continuations),
    ("empty CONTINUATION", empty_continuations),
    ("empty DATA", empty_data),
    ("SETTINGS whose acknowledgements are not read", unread_settings),
    ("PING whose answers are not read", unread_pings),
    ("PRIORITY of a million streams", priorities),
    ("WINDOW_UPDATE by a byte", window_updates),
    ("unknown frames", unknown_frames),
    ("fields without a name", nameless_fields),
    ("references to one large field", large_references),
    ("references to one crumb", crumbs),
    ("more streams than allowed", many_streams),
    ("a window that is never given", starved_windows),
    ("a huge window that is never read", unread_responses),
    ("a preface that stops", stopped_prefaces),
    ("a head that drips", dripping_head),
    ("a body that stops", stopped_body),
    ("a body beyond its window", beyond_the_window),
];

/// The names, for the count of the corpus.
pub(super) const NAMES: [&str; FLOODS.len()] = {
    let mut names = [""; FLOODS.len()];
    let mut nth = 0;
    while nth < FLOODS.len() {
        names[nth] = FLOODS[nth].0;
        nth += 1;
    }
    names
};

fn open(range: &Range) -> Connection {
    Connection::open(range.world.address()).with_patience(CUT_WITHIN)
}

/// A stream's identifier, from 1.
fn id(nth: usize) -> u32 {
    u32::try_from(2 * nth + 1).expect("an identifier")
}

fn has_ended(state: &State) -> bool {
    state.is_closed || state.error().is_some()
}

/// Sends batches until the connection ends; an error if it takes them all.
fn ends(
    connection: &mut Connection,
    batches: usize,
    mut batch: impl FnMut(usize) -> Vec<u8>,
) -> Result<(), String> {
    for nth in 0..batches {
        if connection.try_send(batch(nth), STOPPED).is_err() {
            break;
        }
        connection.glance();
        if has_ended(&connection.state) {
            break;
        }
    }
    if connection.read_until(has_ended) && connection.closes() {
        return Ok(());
    }
    let streams = connection.state.streams.len();
    Err(format!("the connection lives on, with {streams} streams, {:?}", connection.state.goaways))
}

/// Sends batches and reads nothing: whether they are taken, left, or end the connection is the
/// server's choice, its memory and its other clients are not.
fn is_held(connection: &mut Connection, batches: usize, batch: impl Fn(usize) -> Vec<u8>) {
    for nth in 0..batches {
        if connection.try_send(batch(nth), STOPPED).is_err() {
            return;
        }
    }
}

/// CVE-2023-44487.
fn rapid_resets(range: &Range) -> Result<(), String> {
    let pair = |nth| [public().whole(id(nth)), reset(id(nth), code::CANCEL)].concat();
    ends(&mut open(range), 200, |batch| (0..100).flat_map(|nth| pair(100 * batch + nth)).collect())
}

/// Each stream is seen to be accepted before it is reset: its request is under way.
fn slow_resets(range: &Range) -> Result<(), String> {
    let gate = Gate::default();
    range.upstream.answer(BROKEN, Reply::acts([Act::Wait(gate.clone())]));
    let mut connection = open(range);
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
    let open = || range.upstream.open_connections();
    if eventually(|| open() <= 20) {
        Ok(())
    } else {
        Err(format!("{} connections are left", open()))
    }
}

/// CVE-2025-8671: nothing is reset by the client.
fn made_resets(range: &Range) -> Result<(), String> {
    let get = |nth: usize| Head::get(BROKEN).whole(id(nth));
    let wrong = |nth: usize| match nth % 2 {
        0 => data(id(nth), flag::END_STREAM, "x"),
        _ => window_update(id(nth), i32::MAX as u32),
    };
    ends(&mut open(range), 200, |batch| {
        (100 * batch..100 * batch + 100).flat_map(|nth| [get(nth), wrong(nth)].concat()).collect()
    })
}

fn empty_blocks(range: &Range) -> Result<(), String> {
    ends(&mut open(range), 200, |batch| {
        (100 * batch..100 * batch + 100).flat_map(|nth| Head::empty().whole(id(nth))).collect()
    })
}

/// CVE-2024-27316 and its kin: 16 MiB of one header block.
fn continuations(range: &Range) -> Result<(), String> {
    let piece = literal("x-a", "a".repeat(16_000));
    ends(&mut open(range), 1000, |batch| match batch {
        0 => public().frame(1, flag::END_STREAM),
        _ => continuation(1, 0, &piece),
    })
}

fn empty_continuations(range: &Range) -> Result<(), String> {
    ends(&mut open(range), 100, |batch| match batch {
        0 => public().frame(1, flag::END_STREAM),
        _ => continuation(1, 0, "").repeat(1000),
    })
}

/// RUSTSEC-2026-0258.
fn empty_data(range: &Range) -> Result<(), String> {
    ends(&mut open(range), 200, |batch| match batch {
        0 => Head::post(BROKEN).frame(1, flag::END_HEADERS),
        _ => data(1, 0, "").repeat(1000),
    })
}

/// CVE-2019-9515.
fn unread_settings(range: &Range) -> Result<(), String> {
    let frames = settings(&[]).repeat(5000);
    is_held(&mut open(range), 200, |_| frames.clone());
    Ok(())
}

/// CVE-2019-9512.
fn unread_pings(range: &Range) -> Result<(), String> {
    let frames = ping(0, [7; 8]).repeat(5000);
    is_held(&mut open(range), 100, |_| frames.clone());
    Ok(())
}

fn priorities(range: &Range) -> Result<(), String> {
    is_held(&mut open(range), 100, |batch| {
        let streams = 10_000 * batch..10_000 * (batch + 1);
        streams.flat_map(|nth| priority(id(nth), id(nth + 1), 7)).collect()
    });
    Ok(())
}

fn window_updates(range: &Range) -> Result<(), String> {
    let frames = window_update(0, 1).repeat(5000);
    is_held(&mut open(range), 100, |_| frames.clone());
    Ok(())
}

fn unknown_frames(range: &Range) -> Result<(), String> {
    let frames = frame(0xf0, 0, 1, [7; 100]).repeat(1000);
    is_held(&mut open(range), 100, |_| frames.clone());
    Ok(())
}

/// CVE-2019-9516.
fn nameless_fields(range: &Range) -> Result<(), String> {
    let block = [public().block(), indexed_literal("", "").repeat(1000)].concat();
    ends(&mut open(range), 100, |batch| frame(kind::HEADERS, flag::WHOLE, id(batch), &block))
}

/// A field of 4000 bytes that one byte names again: 60 MiB of fields in 15 KiB.
fn large_references(range: &Range) -> Result<(), String> {
    let field = indexed_literal("x-a", "a".repeat(3950));
    refuses(range, &field, 15_000)
}

/// CVE-2026-49975: small fields, each of which costs more to keep than to send.
fn crumbs(range: &Range) -> Result<(), String> {
    refuses(range, &indexed_literal("cookie", "a"), 15_000)
}

/// 40 streams whose blocks name this field so often: not one request may pass.
fn refuses(range: &Range, field: &[u8], count: usize) -> Result<(), String> {
    range.upstream.take();
    let references = index(62).repeat(count);
    let mut connection = open(range).without_grants();
    for nth in 0..40 {
        let first = if nth == 0 { field } else { &[] };
        let block = [&Head::get("/public/bomb").block()[..], first, &references].concat();
        if connection.try_send(frame(kind::HEADERS, flag::WHOLE, id(nth), block), STOPPED).is_err()
        {
            break;
        }
    }
    let is_over = |state: &State| (0..40).all(|nth| state.is_over(id(nth)));
    if !connection.read_until(|state| has_ended(state) || is_over(state)) {
        return Err(format!("streams are neither refused nor ended: {:?}", connection.state));
    }
    let passed =
        range.upstream.take().heads.iter().filter(|target| *target == "/public/bomb").count();
    let answered =
        connection.state.streams.values().filter(|stream| stream.status == Some(200)).count();
    if passed + answered == 0 { Ok(()) } else { Err(format!("{passed} requests passed")) }
}

fn many_streams(range: &Range) -> Result<(), String> {
    const STREAMS: usize = 1000;
    range.upstream.take();
    let gate = Gate::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    range
        .upstream
        .answer("/public/held", Reply::acts([Act::Wait(gate.clone()), Act::Send(answer.into())]));
    let mut connection = open(range);
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
        range.upstream.take().heads.iter().filter(|target| *target == "/public/held").count();
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

/// CVE-2019-9517 and its kin: responses that no window lets pass. They are cut, as any body is that
/// makes no progress.
fn starved_windows(range: &Range) -> Result<(), String> {
    large(range, 1 << 20);
    let mut connection =
        Connection::raw(range.world.address()).with_patience(CUT_WITHIN).without_grants();
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
fn unread_responses(range: &Range) -> Result<(), String> {
    large(range, 8 << 20);
    let began = Instant::now();
    let mut connection =
        Connection::raw(range.world.address()).with_patience(CUT_WITHIN).without_grants();
    connection.begin(&[(setting::INITIAL_WINDOW_SIZE, i32::MAX as u32)]);
    connection.send(window_update(0, i32::MAX as u32 - 65_535));
    for nth in 0..16 {
        connection.send(Head::get("/public/large").whole(id(nth)));
    }
    // What nothing is read of cannot be seen to end, but at the upstream: its exchanges do.
    let open = || range.upstream.open_connections();
    while open() > 4 {
        if began.elapsed() > CUT_WITHIN + slack(began, Instant::now()) {
            return Err(format!("{} connections to the upstream are held", open()));
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

/// Has the upstream answer `/public/large` with so many bytes.
fn large(range: &Range, size: usize) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    range
        .upstream
        .answer("/public/large", Reply::bytes([head.as_bytes(), &vec![b'a'; size]].concat()));
}

fn stopped_prefaces(range: &Range) -> Result<(), String> {
    use super::PREFACE;
    let whole = [PREFACE, &settings(&[])].concat();
    for length in [1, 3, 12, 23, 24, 28, 33] {
        let mut connection = Connection::raw(range.world.address()).with_patience(CUT_WITHIN);
        connection.send(&whole[..length]);
        if !connection.closes() {
            return Err(format!("a connection is open that stopped after {length} bytes"));
        }
    }
    Ok(())
}

/// A byte now and then is no progress: a head as a whole has its time.
fn dripping_head(range: &Range) -> Result<(), String> {
    for in_pieces in [false, true] {
        let began = Instant::now();
        let mut connection =
            Connection::raw(range.world.address()).with_patience(Duration::from_millis(100));
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

fn stopped_body(range: &Range) -> Result<(), String> {
    let mut connection = open(range);
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
fn beyond_the_window(range: &Range) -> Result<(), String> {
    let gate = Gate::default();
    range.upstream.answer(BROKEN, Reply::acts([Act::Wait(gate.clone())]).early());
    let piece = data(1, 0, [b'a'; 16_384]);
    let is_cut = |state: &State| has_ended(state) || state.is_over(1);
    let mut connection = open(range).without_grants();
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

/// The memory of keyward in bytes.
fn resident(range: &Range) -> usize {
    let status = format!("/proc/{}/status", range.world.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).expect("keyward runs");
    let line =
        status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has memory");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok());
    kib.expect("a number of KiB") << 10
}

/// Serves others while a flood is played, and measures.
fn play(range: &Range, attack: Attack) -> Result<(), String> {
    sentinel(range)?;
    let before = resident(range);
    let (is_over, most, served) =
        (AtomicBool::new(false), AtomicUsize::new(before), AtomicUsize::new(0));
    let others = || -> Result<(), String> {
        while !is_over.load(Ordering::SeqCst) || served.load(Ordering::SeqCst) < 3 {
            let began = Instant::now();
            sentinel(range)?;
            range.sentinel()?;
            let ended = Instant::now();
            if ended - began > SERVED_WITHIN + slack(began, ended) {
                return Err(format!("others waited for {:?}", ended - began));
            }
            served.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(resident(range), Ordering::SeqCst);
        }
        Ok(())
    };
    let (played, others) = std::thread::scope(|scope| {
        let others = scope.spawn(others);
        let played = attack(range);
        most.fetch_max(resident(range), Ordering::SeqCst);
        is_over.store(true, Ordering::SeqCst);
        (played, others.join().expect("a thread of the test"))
    });
    played?;
    others.map_err(|what| format!("meanwhile, {what}"))?;
    let more = most.load(Ordering::SeqCst).saturating_sub(before);
    if more > MOST_MEMORY { Err(format!("{} MiB more", more >> 20)) } else { Ok(()) }
}

#[test]
fn a_flood_ends_or_is_held_and_others_are_served_meanwhile() {
    let upstream = Upstream::start();
    let mut plan = Plan::usual(&upstream);
    for key in ["first_byte", "head", "idle", "body"] {
        plan = plan.set("timeouts", key, "\"2s\"");
    }
    let range = Range::of(plan, upstream);
    let mut wrong = Vec::new();
    for (name, attack) in FLOODS {
        let began = Instant::now();
        if let Err(what) = play(&range, attack) {
            wrong.push(format!("- {name}: {what}"));
        }
        eprintln!("{name}: {:?}", began.elapsed());
    }
    assert!(
        wrong.is_empty(),
        "{} of {} floods are wrong\n{}",
        wrong.len(),
        FLOODS.len(),
        wrong.join("\n")
    );
}
