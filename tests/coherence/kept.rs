//! With all rules, the promise is kept in every order of delays and faults.

use super::{
    back_to_isolated, cuts, cuts_on_both_sides, dead_instance_and_removal, delays, flush, holds,
    import, looks, partition, removals, repeats, restarts, serve_cached, swap,
};

#[test]
fn kept_when_looks_take_the_place_of_heartbeats() {
    looks().iter().for_each(holds);
}

#[test]
fn kept_whatever_is_delayed() {
    holds(&delays());
}

#[test]
fn kept_when_a_revocation_is_repeated() {
    holds(&repeats());
}

#[test]
fn kept_when_the_record_is_gone_already() {
    holds(&removals());
}

#[test]
fn kept_when_an_instance_was_forgotten_and_the_record_is_gone_already() {
    holds(&dead_instance_and_removal());
}

#[test]
fn kept_when_links_break() {
    holds(&cuts());
}

#[test]
fn kept_when_the_links_of_both_break() {
    holds(&cuts_on_both_sides());
}

#[test]
fn kept_when_redis_restarts_with_an_older_registry() {
    holds(&restarts());
}

#[test]
fn kept_when_everything_is_flushed() {
    holds(&flush());
}

#[test]
fn kept_when_everything_is_swapped_away() {
    holds(&swap());
}

#[test]
fn kept_when_a_dump_is_imported() {
    holds(&import());
}

#[test]
fn kept_when_lapsed_leases_are_served_from_the_cache() {
    holds(&serve_cached());
}

#[test]
fn kept_from_the_stated_bound_on_when_a_master_is_isolated() {
    holds(&partition());
}

/// The bound itself can be waited for: a revoker whose link is younger than the bound waits until
/// it is older. A new master was made after the old one lost its replicas, and a link to it was
/// made after that.
#[test]
fn kept_without_exception_when_revokers_on_a_young_link_wait_for_the_bound() {
    holds(&partition().outwaiting_lag());
}

#[test]
fn kept_when_a_user_goes_back_to_an_isolated_master() {
    holds(&back_to_isolated());
}
