//! A validator's server that tells words without end: everything else it passes to a true one.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// Such a server; it lasts as long as the test.
pub(crate) struct Endless {
    pub(crate) url: String,
    /// Behind which words it was asked for more, in order, since this was taken last.
    asked: Arc<Mutex<Vec<u64>>>,
    /// The number of the last word, if it is asked for that.
    last: Arc<AtomicU64>,
}

impl Endless {
    /// In front of the server at `port`; it tells `word` again and again.
    pub(crate) fn before(port: u16, word: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let last = Arc::new(AtomicU64::new(u64::MAX));
        let (heard, told, word) = (Arc::clone(&asked), Arc::clone(&last), word.trim().to_owned());
        spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let question = question(&mut client);
                let line = String::from_utf8_lossy(&question).lines().next().unwrap().to_owned();
                let path = line.split(' ').nth(1).unwrap();
                let body = match path.split_once("/words?after=") {
                    Some((_, after)) => {
                        let after: u64 = after.parse().unwrap();
                        heard.lock().unwrap().push(after);
                        format!("{{\"words\":[{{\"number\":{},\"word\":{word}}}]}}", after + 1)
                    }
                    None if path.starts_with("/v1/contracts/") => {
                        format!("{{\"last_word\":{}}}", told.load(Ordering::SeqCst))
                    }
                    None => {
                        let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                        server.write_all(&question).unwrap();
                        let _ = std::io::copy(&mut server, &mut client);
                        continue;
                    }
                };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = client.write_all((head + &body).as_bytes());
            }
        });
        Self { url, asked, last }
    }

    /// Behind which words it was asked for more.
    pub(crate) fn asked(&self) -> Vec<u64> {
        core::mem::take(&mut self.asked.lock().unwrap())
    }

    /// From now on its last word has this number.
    pub(crate) fn ends_at(&self, number: u64) {
        self.last.store(number, Ordering::SeqCst);
    }
}

/// A whole question, as it came.
fn question(client: &mut TcpStream) -> Vec<u8> {
    let (mut held, mut chunk) = (Vec::new(), [0u8; 4096]);
    loop {
        let text = String::from_utf8_lossy(&held).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if held.len() >= end + 4 + length {
                return held;
            }
        }
        let count = client.read(&mut chunk).unwrap();
        assert!(count > 0, "a question without end");
        held.extend_from_slice(&chunk[..count]);
    }
}
