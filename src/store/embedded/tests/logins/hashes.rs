//! Hashes of passwords: made anew, and of every form of what was typed.

use super::*;

#[tokio::test]
async fn an_old_hash_is_made_anew_at_the_next_login() {
    let bench = bench();
    let account = bench.register("ann").await;
    let mut parts = bench.parts.clone();
    let dearer = HashingCost { passes: 2, ..CHEAP };
    parts.hashing =
        Arc::new(HashingPool::start(NonZeroUsize::MIN, NonZeroUsize::MIN, dearer).unwrap());
    let accounts = Arc::clone(&parts.accounts);
    let kept = async || {
        accounts.account_by_username("accounts".into(), "ann".into()).await.unwrap().unwrap()
    };
    let bench = AccountsBench { service: AccountsService::new(parts.clone()), parts, ..bench };
    assert!(bench.login("ann", "wrong horse").await.is_err());
    assert_eq!(kept().await.hash.cost, CHEAP);
    let token = bench.login("ann", "correct horse").await.unwrap();
    let now = kept().await;
    assert_eq!((now.hash.cost, now.account), (dearer, account));
    // The same password: no session ends.
    assert!(
        bench.caller(&token).await.is_some() && bench.login("ann", "correct horse").await.is_ok()
    );
}

/// As hashes were made before passwords had one form: of the bytes that were typed.
fn hash_as_typed(password: &str) -> PasswordHash {
    let params =
        argon2::Params::new(CHEAP.memory_kib, CHEAP.passes, CHEAP.lanes, Some(32)).unwrap();
    let mut memory = vec![argon2::Block::default(); params.block_count()];
    let (salt, mut hash) = ([7; 16], [0; 32]);
    let context = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    context
        .hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, &mut memory)
        .unwrap();
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    PasswordHash::parse(&format!("$argon2id$v=19$m=64,t=1,p=1${salt}${hash}")).unwrap()
}

#[tokio::test]
async fn a_hash_of_what_was_typed_is_good_as_it_was_typed_and_from_then_on_in_every_form() {
    let bench = bench();
    let account = bench.register("ann").await;
    let (typed, other) = ("cafe\u{301}\u{a0}au lait", "caf\u{e9} au lait");
    let old = hash_as_typed(typed);
    let accounts = &bench.parts.accounts;
    let changed =
        accounts.rehash("accounts".into(), account.id, account.revision, old.clone()).await;
    changed.unwrap();
    assert!(matches!(bench.login("ann", other).await, Err(AccountError::WrongLogin)));
    let token = bench.login("ann", typed).await.unwrap();
    let now = accounts.account_by_username("accounts".into(), "ann".into()).await.unwrap().unwrap();
    assert!(now.hash != old && now.account == account);
    for form in [other, typed] {
        assert!(bench.login("ann", form).await.is_ok(), "{form:?}");
    }
    assert!(bench.caller(&token).await.is_some(), "no session ends");
    // One that can be chosen no more still lets in.
    let with_control = "tab\tulated";
    accounts
        .rehash("accounts".into(), account.id, account.revision, hash_as_typed(with_control))
        .await
        .unwrap();
    for _ in 0..2 {
        assert!(bench.login("ann", with_control).await.is_ok());
    }
}
