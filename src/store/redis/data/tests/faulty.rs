//! A server whose replies are spoilt on the way: no look-up gets the answer to another one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;

use super::*;

/// What a relay does with what the server says, once it is told to.
#[derive(Clone, Copy, Debug)]
enum Tampering {
    /// An answer without a question.
    Surplus,
    /// The answer to an earlier look-up of the same key, in front of the right one.
    Earlier,
    /// The first answer of what has arrived is left out.
    Missing,
    /// Half of it, and then nothing more.
    Cut,
    /// Something that is no RESP.
    Garbage,
}

/// Stands in front of a server, and spoils one reply when told to.
struct Relay {
    port: u16,
    spoils: Arc<AtomicBool>,
}

impl Relay {
    fn start(server: u16, fault: Tampering) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let spoils = Arc::new(AtomicBool::new(false));
        let switch = Arc::clone(&spoils);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut down);
                    let _ = down.shutdown(Shutdown::Both);
                });
                let switch = Arc::clone(&switch);
                std::thread::spawn(move || pass_on(server, client, &switch, fault));
            }
        });
        Self { port, spoils }
    }
}

fn pass_on(mut server: TcpStream, mut client: TcpStream, switch: &AtomicBool, fault: Tampering) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        let mut reply = buffer[..length].to_vec();
        let mut ends = false;
        if switch.swap(false, Ordering::SeqCst) {
            match fault {
                Tampering::Surplus => {
                    reply.splice(..0, *b"$5\r\nwrong\r\n");
                }
                Tampering::Earlier => {
                    reply.splice(..0, *b"$3\r\nold\r\n");
                }
                Tampering::Missing => {
                    // "$n\r\n…\r\n": the second line break ends it.
                    let ends: Vec<_> =
                        reply.windows(2).enumerate().filter(|(_, pair)| pair == b"\r\n").collect();
                    reply.drain(..ends[1].0 + 2);
                }
                Tampering::Cut => {
                    reply.truncate(length / 2);
                    ends = true;
                }
                Tampering::Garbage => reply = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            }
        }
        if client.write_all(&reply).is_err() || ends {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

#[tokio::test]
async fn whatever_a_faulty_server_says_no_answer_goes_to_another_question() {
    for fault in [Tampering::Surplus, Tampering::Missing, Tampering::Cut, Tampering::Garbage] {
        let server = RedisServer::start();
        let relay = Relay::start(server.port, fault);
        let bench = DataBench::with_usual_timeouts(relay.port);
        bench.publish(1).await;
        let fill = "for i = 0, 999 do redis.call('SET', 'k' .. i, 'v' .. i) end redis.call('SET', \
                    'a', 'a') return 1";
        bench.data.change(lua(fill, Vec::new()), None).await.unwrap();
        bench.get("a").await.unwrap();
        let (mut right, mut failed) = (0, 0);
        for round in 0..5 {
            let mut tasks = Vec::new();
            for key in 0..500 {
                let data = bench.data.clone();
                tasks.push(tokio::spawn(async move {
                    let mut command = cmd("GET");
                    command.arg(format!("k{key}"));
                    (key, data.read(command).await)
                }));
            }
            relay.spoils.store(round % 2 == 0, Ordering::SeqCst);
            for task in tasks {
                let (key, answer) = task.await.unwrap();
                match answer {
                    Ok(answer) => {
                        assert_eq!(text(&answer), format!("v{key}"), "{fault:?}");
                        right += 1;
                    }
                    Err(_) => failed += 1,
                }
            }
            relay.spoils.store(false, Ordering::SeqCst);
            wait_for_answer(&bench).await;
        }
        assert!(right > 0 && failed > 0, "{fault:?}: {right} right, {failed} failed");
    }
}

/// A record's seal would not reveal it: the answer is right but for its time.
#[tokio::test]
async fn the_answer_to_an_earlier_look_up_of_the_same_key_is_not_taken() {
    let server = RedisServer::start();
    let relay = Relay::start(server.port, Tampering::Earlier);
    let bench = DataBench::with_usual_timeouts(relay.port);
    bench.publish(1).await;
    bench.data.change(lua(SET, vec!["a", "old"]), None).await.unwrap();
    assert_eq!(text(&bench.get("a").await.unwrap()), "old");
    bench.data.change(lua(SET, vec!["a", "new"]), None).await.unwrap();
    relay.spoils.store(true, Ordering::SeqCst);
    let answer = bench.get("a").await;
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    wait_for_answer(&bench).await;
    assert_eq!(text(&bench.get("a").await.unwrap()), "new");
}
