//! Files that change: by rename, in place, through symbolic links; whole, half and wrong.

use std::os::unix::fs::symlink;

use super::*;

/// A server whose certificate is renewed again and again.
struct Renewed {
    folder: Folder,
    authority: Authority,
    client: Arc<ClientConfig>,
    server: Arc<Server>,
    watcher: Watcher,
}

impl Renewed {
    fn new(folder: Folder, files: CertificateFiles, authority: Authority) -> Self {
        let client = client(&folder.write("ca.pem", &authority.pem));
        let server = Server::load(plain(files)).expect("a server");
        let watcher = Watcher::default();
        watcher.register(&server);
        watcher.register(&server);
        // Nothing has changed, and the stamps are settled from now on: changes must show in them.
        watcher.refresh(later());
        assert_eq!((watcher.reloads_done(), watcher.reloads_failed()), (0, 0));
        Self { folder, authority, client, server, watcher }
    }

    fn start() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new("authority"));
        let files = folder.write_pair("a", &authority.issue(&["a.example"]));
        Self::new(folder, files, authority)
    }

    fn issue(&self) -> Issued {
        self.authority.issue(&["a.example"])
    }

    /// The certificate that is shown in a full handshake.
    async fn shown(&self) -> CertificateDer<'static> {
        let mut fresh = ClientConfig::clone(&self.client);
        fresh.resumption = rustls::client::Resumption::disabled();
        meet(&self.server, &Arc::new(fresh), "a.example").await.expect("served").leaf
    }

    /// Looks, and says how often a look reloaded and failed so far.
    fn look(&self) -> (u64, u64) {
        self.watcher.refresh(later());
        (self.watcher.reloads_done(), self.watcher.reloads_failed())
    }
}

/// Gives a file a time of change that no write of this test gives it.
fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    std::fs::File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .expect("a time");
}

#[tokio::test]
async fn a_pair_that_is_rewritten_in_place_is_seen() {
    let renewed = Renewed::start();
    let next = renewed.issue();
    let files = renewed.folder.write_pair("a", &next);
    set_time(&files.certificate, 1000);
    assert_eq!(renewed.look(), (1, 0));
    assert!(renewed.shown().await == next.der);
    assert_eq!(renewed.look(), (1, 0), "once");
}

#[tokio::test]
async fn a_pair_that_is_replaced_by_rename_is_seen() {
    let renewed = Renewed::start();
    let next = renewed.issue();
    let new = renewed.folder.write_pair("new", &next);
    std::fs::rename(new.certificate, renewed.folder.path("a.pem")).expect("renamed");
    std::fs::rename(new.key, renewed.folder.path("a.key")).expect("renamed");
    assert_eq!(renewed.look(), (1, 0));
    assert!(renewed.shown().await == next.der);
}

/// As the kubelet does it: `tls.crt` → `..data/tls.crt`, and `..data` → a folder that is replaced
/// at once.
fn publish(folder: &Folder, version: &str, issued: &Issued) {
    std::fs::create_dir(folder.path(version)).expect("a folder");
    folder.write(&format!("{version}/tls.crt"), &issued.pem);
    folder.write(&format!("{version}/tls.key"), &issued.key);
    symlink(version, folder.path("..data_tmp")).expect("a link");
    std::fs::rename(folder.path("..data_tmp"), folder.path("..data")).expect("renamed");
}

#[tokio::test]
async fn a_swapped_symbolic_link_is_seen() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let first = authority.issue(&["a.example"]);
    publish(&folder, "..1", &first);
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| {
        symlink(format!("..data/{name}"), folder.path(name)).expect("a link");
        folder.path(name)
    });
    let renewed = Renewed::new(folder, CertificateFiles { certificate, key }, authority);
    assert!(renewed.shown().await == first.der);
    let next = renewed.issue();
    publish(&renewed.folder, "..2", &next);
    assert_eq!(renewed.look(), (1, 0));
    assert!(renewed.shown().await == next.der);
}

#[tokio::test]
async fn a_half_written_pair_keeps_the_old_one_in_force_and_settles() {
    let renewed = Renewed::start();
    let (first, next) = (renewed.shown().await, renewed.issue());
    let files = renewed.folder.write_pair("new", &next);
    std::fs::rename(&files.certificate, renewed.folder.path("a.pem")).expect("renamed");
    assert_eq!(renewed.look(), (0, 1));
    assert!(renewed.shown().await == first);
    assert_eq!(renewed.look(), (0, 1), "the same change is reported once");
    std::fs::rename(&files.key, renewed.folder.path("a.key")).expect("renamed");
    assert_eq!(renewed.look(), (1, 1));
    assert!(renewed.shown().await == next.der);
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_the_old_ones_in_force() {
    let renewed = Renewed::start();
    let first = renewed.shown().await;
    let good = std::fs::read(renewed.folder.path("a.pem")).expect("a file");
    let cut = good.split_at(good.len() / 2).0;
    for (wrong, failures) in [(Some(cut), 1), (Some(b"".as_slice()), 2), (None, 3)] {
        let path = renewed.folder.path("a.pem");
        match wrong {
            Some(content) => std::fs::write(&path, content).expect("written"),
            None => std::fs::remove_file(&path).expect("removed"),
        }
        assert_eq!(renewed.look(), (0, failures));
        assert!(renewed.shown().await == first);
    }
    renewed.folder.write("a.pem", &good);
    assert_eq!(renewed.look(), (1, 3), "what was good is good again");
}

#[tokio::test]
async fn a_second_change_within_one_step_of_the_clock_is_seen() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let files = folder.write_pair("a", &authority.issue(&["a.example"]));
    let server = Server::load(plain(files.clone())).expect("a server");
    assert!(!server.refresh(SystemTime::now()).is_reloaded);
    // The same size, and a time of change that is set back: only the contents differ.
    let next = authority.issue(&["a.example"]);
    let stamps = [&files.certificate, &files.key]
        .map(|path| std::fs::metadata(path).unwrap().modified().unwrap());
    folder.write_pair("a", &next);
    for (path, time) in [&files.certificate, &files.key].into_iter().zip(stamps) {
        std::fs::File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(time))
            .expect("a time");
    }
    assert!(server.refresh(SystemTime::now()).is_reloaded);
}

#[test]
fn a_touched_file_with_the_same_content_is_no_change() {
    let renewed = Renewed::start();
    let before = renewed.server.config();
    set_time(&renewed.folder.path("a.pem"), 1000);
    assert_eq!(renewed.look(), (0, 0));
    assert!(Arc::ptr_eq(&before, &renewed.server.config()));
}

#[test]
fn what_was_dropped_is_no_longer_looked_at() {
    let Renewed { folder, server, watcher, .. } = Renewed::start();
    drop(server);
    folder.write("a.pem", "");
    watcher.refresh(later());
    assert_eq!((watcher.reloads_done(), watcher.reloads_failed()), (0, 0));
}
