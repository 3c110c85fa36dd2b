//! Users over the socket.

use super::*;

fn user_request(username: &str, password: &str) -> UserRequest {
    UserRequest {
        token_api: None,
        username: crate::domain::Username::new(username).expect("a name"),
        email: crate::domain::Email::new("a@example.com").expect("an address"),
        full_name: crate::domain::FullName::new("Ann \"A\" Ünal").expect("a name"),
        password: new_password(password),
    }
}

fn new_password(text: &str) -> crate::domain::NewPassword {
    crate::domain::NewPassword::new(crate::domain::Password::presented(text.into()))
        .expect("long enough")
}

#[tokio::test]
async fn users_are_added_listed_and_changed_over_the_socket() {
    let world = World::start();
    let client = SocketClient::find(&world.socket).await.expect("told").expect("running");
    let added =
        client.user_add(user_request("Ann", "correct \"horse\" \u{1f40e}")).await.expect("added");
    assert_eq!((added.username.as_str(), added.is_disabled), ("Ann", false));
    client
        .user_add(UserRequest {
            token_api: Some("a&b".into()),
            ..user_request("bob", "let me not in")
        })
        .await
        .expect("added");
    let names = async |token_api: Option<&str>, limit| {
        let users = client.users(token_api.map(str::to_owned), limit).await.expect("listed");
        users.into_iter().map(|user| (user.username, user.is_disabled)).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 0).await, [("Ann".to_owned(), false), ("bob".to_owned(), true)]);
    assert_eq!(names(Some("a&b"), 5).await, [("bob".to_owned(), true)]);
    assert_eq!(names(None, 1).await.len(), 1);
    let change = async |username: &str, action| {
        let username = crate::domain::Username::new(username).expect("a name");
        client.user_change(UserChange { token_api: None, username, action }).await.expect("done")
    };
    assert_eq!(change("Ann", UserAction::Disable).await, UserOutcome::Done);
    assert_eq!(change("bob", UserAction::Enable).await, UserOutcome::Done);
    assert_eq!(change("eve", UserAction::Disable).await, UserOutcome::NotFound);
    assert_eq!(
        change("bob", UserAction::SetPassword(new_password("é battery \\ staple"))).await,
        UserOutcome::Done
    );
    assert_eq!(names(None, 0).await, [("Ann".to_owned(), true), ("bob".to_owned(), false)]);
    assert_eq!(
        world.administration.users.lock().expect("lock")[1].full_name,
        "é battery \\ staple"
    );
}

#[tokio::test]
async fn a_user_that_cannot_be_is_refused_by_the_socket_without_repeating_the_password() {
    let world = World::start();
    let add =
        r#"{"username":"ann","email":"a@example.com","full_name":"A","password":"correct horse"}"#;
    for (path, body, status, field) in [
        ("/v1/users", add.replace("ann", "a"), 422, "username"),
        ("/v1/users", add.replace("a@", "a"), 422, "email"),
        ("/v1/users", add.replace("correct horse", "canary"), 422, "password"),
        ("/v1/users", add.replace("}", ",\"role\":\"admin\"}"), 422, "role"),
        ("/v1/users/password", r#"{"username":"ann"}"#.to_owned(), 422, "password"),
        (
            "/v1/users/disable",
            r#"{"username":"ann","password":"canary canary"}"#.to_owned(),
            422,
            "password",
        ),
        ("/v1/users/rename", r#"{"username":"ann"}"#.to_owned(), 404, "nothing"),
        ("/v1/usersx", r#"{"username":"ann"}"#.to_owned(), 413, "body"),
    ] {
        let mut stream = UnixStream::connect(&world.socket).expect("connected");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(field),
            "{path} {answer}"
        );
        assert!(!answer.contains("canary"), "{answer}");
    }
    assert!(world.administration.users.lock().expect("lock").is_empty());
}

#[test]
fn what_is_wrong_with_a_request_to_explain_is_said_without_repeating_it() {
    let world = World::start();
    let explain =
        |body: &str| world.operate(&post(body).replacen("/v1/bootstrap-tokens", "/v1/explain", 1));
    for (body, words) in [
        (
            r#"{"method":"GET","url":"/canary","headers":[],"from":"127.0.0.1"}"#,
            "the URL must be whole",
        ),
        (
            r#"{"method":"GET","url":"http://a.example/","headers":[["x","a\ncanary"]],"from":"::1"}"#,
            "header 1 ",
        ),
        (
            r#"{"method":"GET","url":"http://a.example/","headers":[["x","canary"]],"from":"::1"}"#,
            "no gateway",
        ),
        (
            r#"{"method":"GET","url":"http://a.example/","headers":"canary","from":"::1"}"#,
            "wrong at column",
        ),
        (r#"{"canary":1}"#, "wrong at column"),
        ("canary", "wrong at column"),
    ] {
        let answer = explain(body);
        assert_eq!(status_of(&answer), "422", "{answer}");
        assert!(answer.contains(words) && !answer.contains("canary"), "{words}: {answer}");
    }
    assert_eq!(status_of(&explain(&" ".repeat(256 * 1024 + 1))), "413");
    assert_eq!(status_of(&world.operate(&get("/v1/explain"))), "405");
}
