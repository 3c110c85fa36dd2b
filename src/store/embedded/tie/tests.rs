use super::*;

fn tie(lineage: u8, count: u64) -> Tie {
    Tie { lineage: [lineage; 8], count }
}

#[test]
fn a_log_goes_on_where_the_database_was_written_back_last() {
    let database = tie(1, 10);
    for (first, last, is_its_own) in [
        // Written back to the end, then begun anew.
        (11, 11, true),
        (11, 40, true),
        // Written back in part.
        (5, 10, true),
        (5, 40, true),
        (10, 12, true),
        // The log of a later time, and of an earlier one.
        (12, 40, false),
        (3, 9, false),
    ] {
        assert_eq!(database.has_log(tie(1, first), tie(1, last)), is_its_own, "{first} to {last}");
        assert!(!database.has_log(tie(2, first), tie(2, last)), "another database");
    }
    assert!(!database.has_log(tie(1, 11), tie(2, 12)));
}

#[test]
fn the_row_is_found_on_its_page_whatever_else_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(schema::STEPS[0]).unwrap();
    let on_disk = || Beginning::read(&path).unwrap().unwrap().tie;
    assert_eq!(on_disk(), None);
    for (name, value) in [("seal", vec![7; 32]), ("keys", vec![8; 32]), ("probe", vec![9; 16_384])]
    {
        schema::set_meta(&connection, name, &value).unwrap();
        assert_eq!(on_disk(), None);
    }
    // Each write may leave what it replaced on the page.
    let mut last = Tie::new().unwrap();
    for _ in 0..200 {
        last = last.next();
        last.write(&connection).unwrap();
        assert_eq!(on_disk(), Some(last));
        assert_eq!(Tie::read(&connection).unwrap(), Some(last));
    }
    let root: u32 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'meta'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(root, PAGE);
    assert_eq!(Tie::from_bytes(&last.to_bytes()), Some(last));
    assert_eq!(Tie::from_bytes(&last.to_bytes()[..23]), None);
}

#[test]
fn no_page_is_too_broken_to_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(schema::STEPS[0]).unwrap();
    tie(1, 1).write(&connection).unwrap();
    drop(connection);
    let whole = std::fs::read(&path).unwrap();
    let page = &whole[4096..8192];
    assert_eq!(Tie::on_page(page), Some(tie(1, 1)));
    for at in 0..page.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut broken = page.to_vec();
            broken[at] ^= flip;
            let _ = Tie::on_page(&broken);
        }
        let _ = Tie::on_page(&page[..at]);
    }
}
