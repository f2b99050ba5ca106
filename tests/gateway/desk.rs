//! A session without a socket: lines in, lines out, and a clock that the test turns.

use std::sync::Arc;

use bitcoin::Target;
use hashmix::gateway::board::Board;
use hashmix::gateway::job::Job;
use hashmix::gateway::server::Settings;
use hashmix::gateway::session::{Next, Session};
use hashmix::gateway::settings::House;
use hashmix::gateway::submit::{Moment, header_hash};
use hashmix::rehearsal::stratum::jobs::TIME;
use hashmix::work::extended_job::{Extranonce, Find};
use serde_json::{Value, json};

use crate::world::{Kept, job, payees, settings};

/// A machine's session, and everything around it.
pub struct Desk {
    pub session: Session,
    pub now: Moment,
    pub kept: Kept,
    pub board: Arc<Board>,
    /// How the last line or tick ended.
    pub next: Next,
    /// Where the search for finds goes on.
    nonce: u32,
    /// The job's name on the last notify.
    pub name: String,
    /// The job of it.
    pub job: Option<Arc<Job>>,
}

impl Desk {
    /// A connection with a job for each payee on the board.
    pub fn new(settings: Settings) -> Self {
        let house = Arc::new(House::new(settings, payees()).unwrap());
        let mut board = Board::new(2);
        board.post(vec![job(1, 0, 1), job(2, 1, 1)], 0);
        let board = Arc::new(board);
        let now = Moment { ms: 1_000, unix: TIME + 60 };
        let address = "192.0.2.7:4000".parse().unwrap();
        let session = Session::new(house, Arc::clone(&board), 1, address, now);
        Self {
            session,
            now,
            kept: Kept::default(),
            board,
            next: Ok(()),
            nonce: 0,
            name: String::new(),
            job: None,
        }
    }

    /// A machine that is logged in and rolls all version bits.
    pub fn ready() -> Self {
        Self::ready_with(settings())
    }

    pub fn ready_with(settings: Settings) -> Self {
        let mut desk = Self::new(settings);
        desk.ask("mining.configure", json!([["version-rolling"], {}]));
        desk.ask("mining.subscribe", json!(["test/1"]));
        desk.ask("mining.authorize", json!(["farm.one", "x"]));
        assert!(desk.job.is_some());
        desk
    }

    /// Says a line; answers with the lines that come back.
    pub fn say(&mut self, line: &str) -> Vec<String> {
        let mut out = Vec::new();
        self.next = self.session.line(line.as_bytes(), self.now, &self.kept, &mut out);
        self.heard(&out)
    }

    /// Asks, and answers with what came back first.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let line = json!({ "id": 7, "method": method, "params": params }).to_string();
        let lines = self.say(&line);
        let answer: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(answer["id"], 7);
        answer
    }

    /// Puts up new jobs.
    pub fn post(&mut self, jobs: Vec<Arc<Job>>) -> Vec<String> {
        let mut board = Board::clone(&self.board);
        board.post(jobs, self.now.ms);
        self.show(board)
    }

    pub fn show(&mut self, board: Board) -> Vec<String> {
        self.board = Arc::new(board);
        let mut out = Vec::new();
        self.next = self.session.board(&self.board, self.now, &mut out);
        self.heard(&out)
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) -> Vec<String> {
        self.now.ms += ms;
        self.now.unix = TIME + 60 + u32::try_from(self.now.ms / 1_000).unwrap();
        let mut out = Vec::new();
        self.next = self.session.tick(None, self.now, &mut out);
        self.heard(&out)
    }

    fn heard(&mut self, out: &[u8]) -> Vec<String> {
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for line in &lines {
            let said: Value = serde_json::from_str(line).unwrap();
            if said["method"] == "mining.notify" {
                self.name = said["params"][0].as_str().unwrap().to_owned();
                let payee = self.session.status().payee.unwrap();
                self.job = Some(Arc::clone(&self.board.job(payee).unwrap().job));
            }
        }
        lines
    }

    /// A submit whose hash is at most `at_most` and above `above`, on the job of the last notify.
    pub fn find(&mut self, above: Target, at_most: Target) -> Value {
        let job = Arc::clone(self.job.as_ref().unwrap());
        self.find_on(&job, &self.name.clone(), TIME, above, at_most)
    }

    pub fn find_on(
        &mut self,
        job: &Job,
        name: &str,
        time: u32,
        above: Target,
        at_most: Target,
    ) -> Value {
        let extranonce = Extranonce::new(&[0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 5]).unwrap();
        loop {
            self.nonce += 1;
            let nonce = self.nonce;
            let find = Find { extranonce, version: 0x2000_0000, time, nonce };
            let hash = header_hash(&job.work, &find, &mut Vec::new()).unwrap();
            if at_most.is_met_by(hash) && !above.is_met_by(hash) {
                let (time, nonce) = (format!("{time:08x}"), format!("{nonce:08x}"));
                return json!(["farm.one", name, "0000000000000005", time, nonce, "00000000"]);
            }
        }
    }

    /// Code of the answer to a submit; 0 for yes.
    pub fn submit(&mut self, params: &Value) -> u64 {
        let answer = self.ask("mining.submit", params.clone());
        match answer["result"] == true {
            true => 0,
            false => answer["error"][0].as_u64().unwrap(),
        }
    }
}
