//! The server ends in the middle of a contract, and later the node behind it too. Whoever asks then
//! reads one line and loses nothing; when they are back, the same engines go on.
//!
//! In the world of processes these are ended and started again. The embedded node is in this
//! process: there the way to it is closed.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use bitcoin::{Block, BlockHash, Txid};
use hashmix::chain::view::Source;
use hashmix::error::Result;
use hashmix::rehearsal::daemons::Daemons;
use hashmix::rehearsal::world::{World, chosen};
use hashmix::work::template::BlockTemplate;

use super::broken_at_every_line::{CALM, ROLES};
use super::play::{BRISK, Play, rules};
use super::proxy::Trouble;
use crate::world::{Table, on_core};

/// Bitcoin Core and electrs, for the table and for whoever ends them.
#[derive(Clone)]
struct Processes(Rc<RefCell<Daemons>>);

impl Processes {
    fn world(&self) -> Ref<'_, Daemons> {
        self.0.borrow()
    }
}

impl World for Processes {
    fn electrum_url(&self) -> String {
        self.world().electrum_url()
    }

    fn sources(&self) -> Result<Vec<Source>> {
        self.world().sources()
    }

    fn height(&self) -> Result<u32> {
        self.world().height()
    }

    fn template(&self) -> Result<BlockTemplate> {
        self.world().template()
    }

    fn hand_in(&self, block: &Block) -> Result<BlockHash> {
        self.world().hand_in(block)
    }

    fn block(&self, height: u32) -> Result<Block> {
        self.world().block(height)
    }

    fn mempool(&self) -> Result<Vec<Txid>> {
        self.world().mempool()
    }

    fn settle(&self) -> Result<()> {
        self.world().settle()
    }
}

/// A contract whose server can be ended.
struct Ends {
    play: Play,
    /// None in the embedded world.
    processes: Option<Processes>,
}

impl Ends {
    /// The contract in the world that HASHMIX_WORLD names.
    fn in_the_chosen_world() -> Self {
        if on_core() {
            let processes = Processes(Rc::new(RefCell::new(Daemons::start().unwrap())));
            let mut play = Play::at(Table::funded_in(Box::new(processes.clone())));
            let url = play.table.node.electrum_url();
            for seat in ROLES {
                play.send(seat, &url, BRISK);
            }
            Self { play, processes: Some(processes) }
        } else {
            let mut play = Play::at(Table::funded_in(chosen().unwrap()));
            play.put_proxies(&ROLES, BRISK);
            Self { play, processes: None }
        }
    }

    /// The server ends, and with `node` the node behind it. One of each role asks, the same twice,
    /// and reads that nobody answers. Then all is back.
    fn end_and_resume(&mut self, node: bool) {
        match &self.processes {
            Some(processes) => processes.0.borrow_mut().stop(node).unwrap(),
            None => self.close(Trouble::Refuses),
        }
        for seat in ROLES {
            let url = self.play.table.ways[&seat].0.clone();
            for _ in 0..2 {
                assert_eq!(rules(&mut self.play, seat, &url), ["chain-server"; 2], "{seat}");
            }
        }
        match &self.processes {
            Some(processes) => processes.0.borrow_mut().resume().unwrap(),
            None => self.close(Trouble::None),
        }
    }

    fn close(&self, trouble: Trouble) {
        for seat in ROLES {
            self.play.proxy(seat).set(trouble.clone());
        }
    }
}

#[test]
fn a_server_and_a_node_that_end_and_come_back_change_no_story() {
    let mut ends = Ends::in_the_chosen_world();
    ends.play.until_a_state_is_due();
    ends.end_and_resume(false);
    ends.play.until_a_state_is_published();
    assert!(!ends.play.table.node.mempool().unwrap().is_empty(), "something waits meanwhile");
    ends.end_and_resume(true);
    assert_eq!(ends.play.until_the_end(), *CALM);
}
