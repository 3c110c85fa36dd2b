//! Floods of header blocks and of fields.

use super::super::public;
use super::{STOPPED, expect_end, has_ended, id, open};
use crate::hostile::HostileWorld;
use crate::support::h2::{Head, State, continuation, flag, frame, kind};
use crate::support::hpack::{index, indexed_literal, literal};

pub(super) fn empty_blocks(world: &HostileWorld) -> Result<(), String> {
    expect_end(&mut open(world), 200, |batch| {
        (100 * batch..100 * batch + 100).flat_map(|nth| Head::empty().whole(id(nth))).collect()
    })
}

/// CVE-2024-27316 and its kin: 16 MiB of one header block.
pub(super) fn continuations(world: &HostileWorld) -> Result<(), String> {
    let piece = literal("x-a", "a".repeat(16_000));
    expect_end(&mut open(world), 1000, |batch| match batch {
        0 => public().frame(1, flag::END_STREAM),
        _ => continuation(1, 0, &piece),
    })
}

pub(super) fn empty_continuations(world: &HostileWorld) -> Result<(), String> {
    expect_end(&mut open(world), 100, |batch| match batch {
        0 => public().frame(1, flag::END_STREAM),
        _ => continuation(1, 0, "").repeat(1000),
    })
}

/// CVE-2019-9516.
pub(super) fn nameless_fields(world: &HostileWorld) -> Result<(), String> {
    let block = [public().block(), indexed_literal("", "").repeat(1000)].concat();
    expect_end(&mut open(world), 100, |batch| frame(kind::HEADERS, flag::WHOLE, id(batch), &block))
}

/// A field of 4000 bytes that one byte names again: 60 MiB of fields in 15 KiB.
pub(super) fn large_references(world: &HostileWorld) -> Result<(), String> {
    let field = indexed_literal("x-a", "a".repeat(3950));
    expect_refusals(world, &field, 15_000)
}

/// CVE-2026-49975: small fields, each of which costs more to keep than to send.
pub(super) fn crumbs(world: &HostileWorld) -> Result<(), String> {
    expect_refusals(world, &indexed_literal("cookie", "a"), 15_000)
}

/// 40 streams whose blocks name this field this many times. None of the requests may pass.
fn expect_refusals(world: &HostileWorld, field: &[u8], count: usize) -> Result<(), String> {
    world.upstream.take();
    let references = index(62).repeat(count);
    let mut connection = open(world).without_grants();
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
        world.upstream.take().heads.iter().filter(|target| *target == "/public/bomb").count();
    let answered =
        connection.state.streams.values().filter(|stream| stream.status == Some(200)).count();
    if passed + answered == 0 { Ok(()) } else { Err(format!("{passed} requests passed")) }
}
