//! A path as the client spelled it, for routes that forward it so.
//!
//! A route is chosen and a caller is judged by the normal form of a path. What an upstream gets as
//! it came must mean nothing else to it, whichever way it reads `%2F` and runs of slashes: see
//! [`Spelling::leads_only_to`].

use std::borrow::Cow;

use http::uri::PathAndQuery;

use super::paths::split_at_rest;
use crate::wire::path::{PathFault, Readings, readings};

/// The spelling of a path that came in another than its normal form. The gate leaves it in the
/// extensions of the head, if a route of the plan forwards paths as they came, or the normal form
/// would lose an empty segment.
#[derive(Clone, Debug)]
pub(super) struct Spelling {
    /// The target as it came.
    pub(super) target: PathAndQuery,
    /// Why it is refused on routes that forward the normal form; nothing, where it has one.
    pub(super) normal_fault: Option<PathFault>,
    /// See [`has_empty_segments`].
    pub(super) has_empty_segments: bool,
    readings: Result<Readings, PathFault>,
}

/// Whether a route of the plan forwards paths as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawPaths {
    /// No route does.
    Unused,
    /// One does.
    Used,
}

impl Spelling {
    /// Of a target with this normal form, or none.
    pub(super) fn of(target: &PathAndQuery, normal: &Result<Cow<'_, str>, PathFault>) -> Self {
        Self {
            target: target.clone(),
            normal_fault: normal.as_ref().err().copied(),
            has_empty_segments: has_empty_segments(target.path()),
            readings: readings(target.path()),
        }
    }

    /// The normal form, but for `%2F`, by which a route is looked up where there is no other.
    pub(super) fn normal(&self) -> Option<&str> {
        self.readings.as_ref().ok().map(|readings| &*readings.normal)
    }

    /// The target for the access log, which writes paths as they are: a quotation mark would end
    /// the path there, and is percent-encoded.
    pub(super) fn logged(&self) -> Option<PathAndQuery> {
        if !self.target.path().contains('"') {
            return Some(self.target.clone());
        }
        PathAndQuery::try_from(self.target.as_str().replace('"', "%22")).ok()
    }

    /// Checks that every reading leads to one route, which has this pattern: `is_there` says it of
    /// a reading. The segments before the rest of the pattern, which may name a tenant, are the
    /// same in all of them.
    ///
    /// # Errors
    ///
    /// See [`PathFault`]: the client's fault.
    pub(super) fn leads_only_to(
        &self,
        pattern: &str,
        is_there: impl Fn(&str) -> bool,
    ) -> Result<(), PathFault> {
        let readings = self.readings.as_ref().map_err(|fault| *fault)?;
        let (begin, _) = split_at_rest(pattern, &readings.normal);
        let is_same =
            |reading: &String| split_at_rest(pattern, reading).0 == begin && is_there(reading);
        if readings.all.iter().all(is_same) { Ok(()) } else { Err(PathFault::OtherRoute) }
    }
}

/// Whether a path has `//` that may be a part of a name. Slashes at its beginning are not: they
/// come from a base address with a slash at its end, to which clients have added a path.
pub(super) fn has_empty_segments(path: &str) -> bool {
    path.trim_start_matches('/').contains("//")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::path::normal_form;

    fn spelling(path: &'static str) -> Spelling {
        Spelling::of(&PathAndQuery::from_static(path), &normal_form(path))
    }

    #[test]
    fn a_path_that_no_reading_takes_out_of_its_route_leads_only_there() {
        for (pattern, path) in [
            ("/{*rest}", "/@scope%2fpkg"),
            ("/{*rest}", "/b/x//y"),
            ("/t/{tenant}/{*rest}", "/t/acme/a%2Fb//c"),
            ("/t/{tenant}/{*rest}", "/%74/acme/x%2f"),
        ] {
            assert_eq!(spelling(path).leads_only_to(pattern, |_| true), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_path_with_two_readings_before_the_rest_leads_elsewhere() {
        for (pattern, path, fault) in [
            ("/t/{tenant}/{*rest}", "/t/acme%2fother/x", PathFault::OtherRoute),
            ("/t/{tenant}/{*rest}", "/t//acme/x", PathFault::OtherRoute),
            ("/t/{tenant}/{*rest}", "//t/acme/x", PathFault::OtherRoute),
            ("/t/{tenant}/{*rest}", "/t%2facme/y/x", PathFault::OtherRoute),
            ("/t/{*rest}", "/t/x/../y", PathFault::DotSegments),
            ("/t/{*rest}", "/t/x%2f%2e%2E", PathFault::DotSegments),
        ] {
            assert_eq!(spelling(path).leads_only_to(pattern, |_| true), Err(fault), "{path}");
        }
    }

    #[test]
    fn a_quotation_mark_does_not_reach_the_access_log() {
        for (path, logged) in
            [("/a\",\"b\":\"c//d", "/a%22,%22b%22:%22c//d"), ("/a%2fb//c?d", "/a%2fb//c?d")]
        {
            let logs = spelling(path).logged();
            assert_eq!(logs.as_ref().map(PathAndQuery::as_str), Some(logged));
        }
    }

    #[test]
    fn a_reading_under_another_route_is_found() {
        let is_there = |path: &str| !path.starts_with("/b/admin");
        let elsewhere = |path| spelling(path).leads_only_to("/b/{*rest}", is_there);
        for path in ["/b/admin%2fx", "/b//admin/x", "/b/%2Fadmin", "/b//%61dmin"] {
            assert_eq!(elsewhere(path), Err(PathFault::OtherRoute), "{path}");
        }
        assert_eq!(elsewhere("/b/x%2fadmin"), Ok(()));
    }
}
