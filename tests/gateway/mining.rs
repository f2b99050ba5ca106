//! Miners over loopback: each firmware's habits, new blocks, pauses, the end.

use std::sync::Arc;
use std::time::Duration;

use hashmix::gateway::difficulty::Difficulty;
use hashmix::gateway::reject::Reject;
use hashmix::gateway::server::{Server, Settings};
use hashmix::rehearsal::stratum::jobs::{sample, target};
use hashmix::rehearsal::stratum::{Answer, Habits, StratumMiner};
use hashmix::work::extended_job::Find;

use crate::world::{Kept, job, payees, server, settings, until};

const ALL: [Habits; 4] = [Habits::BITAXE, Habits::MINERD, Habits::ANTMINER, Habits::WHATSMINER];

#[test]
fn machines_of_every_kind_mine_as_they_are() {
    let (server, kept) = server(settings());
    for habits in ALL {
        let mut miner = StratumMiner::start(server.address(), "alice.rack-1", habits).unwrap();
        for _ in 0..5 {
            let found = miner.search(100_000).unwrap();
            assert_eq!(miner.submit(&found).unwrap(), Answer::Yes, "{}", habits.firmware);
            assert_eq!(found.bits.is_some(), habits.rolls.is_some());
            miner.roll();
        }
        let machines = server.machines();
        let machine =
            machines.iter().find(|machine| &*machine.firmware == habits.firmware).unwrap();
        assert_eq!((&*machine.user, machine.payee), ("alice.rack-1", Some(1)));
        assert_eq!((machine.tally.accepted, machine.tally.shares), (5, 5));
        assert_eq!(machine.mask != 0, habits.rolls.is_some());
    }
    // What was kept are shares of the job, with the hashes that were told.
    let work = job(2, 1, 1).work.clone();
    let shares = kept.shares.lock().unwrap().clone();
    assert_eq!(shares.len(), 20);
    let mut versions = std::collections::BTreeSet::new();
    for (id, find, hash) in shares {
        assert_eq!(id, 2);
        let share = work.share(&find).unwrap();
        assert_eq!(share.header.block_hash(), hash);
        assert!(target(0x0f).is_met_by(hash));
        assert_eq!(find.version >> 29, 1);
        versions.insert(find.version);
    }
    assert!(versions.len() >= 5, "{versions:x?}");
    until("all leave", || server.totals().open == 0);
    let totals = server.totals();
    assert_eq!((totals.connected, totals.tally.accepted), (4, 20));
}

#[test]
fn a_new_block_reaches_every_machine_and_old_finds_are_stale() {
    let (server, kept) = server(settings());
    let mut miners: Vec<_> = (0..20)
        .map(|i| StratumMiner::start(server.address(), &format!("farm.{i}"), ALL[i % 4]).unwrap())
        .collect();
    let finds: Vec<_> = miners.iter_mut().map(|miner| miner.search(100_000).unwrap()).collect();
    let new = job(7, 0, 2);
    server.publish(vec![Arc::clone(&new)]);
    for (miner, find) in miners.iter_mut().zip(finds) {
        let told = miner.await_job(|told| told.parent() == new.work.parent).unwrap();
        assert!(told.clean);
        assert!(matches!(miner.submit(&find).unwrap(), Answer::No(21, _)));
        miner.mine(1, Duration::from_secs(10)).unwrap();
    }
    // What came too late for the machines pays its position all the same.
    let kept = kept.shares.lock().unwrap();
    assert_eq!(kept.iter().filter(|(id, ..)| *id == 1).count(), 20);
    assert!(kept.iter().all(|(id, ..)| [1, 7].contains(id)));
    assert_eq!(server.totals().tally.rejected(Reject::Stale), 20);
}

#[test]
fn two_machines_never_do_the_same_work() {
    let (server, kept) = server(settings());
    let mut one = StratumMiner::start(server.address(), "farm.1", Habits::MINERD).unwrap();
    let mut two = StratumMiner::start(server.address(), "farm.1", Habits::MINERD).unwrap();
    one.mine(20, Duration::from_secs(20)).unwrap();
    two.mine(20, Duration::from_secs(20)).unwrap();
    let kept = kept.shares.lock().unwrap();
    let finds: std::collections::BTreeSet<Find> = kept.iter().map(|(_, find, _)| *find).collect();
    assert_eq!(finds.len(), 40);
    let other = Settings { gateway: 9, ..settings() };
    let (other, theirs) = crate::world::server(other);
    let mut miner = StratumMiner::start(other.address(), "farm.1", Habits::MINERD).unwrap();
    miner.mine(1, Duration::from_secs(20)).unwrap();
    assert_eq!(theirs.shares.lock().unwrap()[0].1.extranonce.as_bytes()[..4], [9, 0, 0, 1]);
}

#[test]
fn machines_that_come_before_the_first_job_wait_for_it() {
    let kept = Arc::new(Kept::default());
    let server = Server::start(settings(), payees(), Arc::<Kept>::clone(&kept)).unwrap();
    let mut miner = StratumMiner::connect(server.address(), "farm.1", Habits::BITAXE).unwrap();
    miner.introduce().unwrap();
    miner.hear(Duration::from_millis(50)).unwrap();
    assert!(miner.job().is_none());
    server.publish(vec![job(1, 0, 1)]);
    miner.await_job(|_| true).unwrap();
    miner.mine(1, Duration::from_secs(10)).unwrap();
}

#[test]
fn firmware_without_room_for_the_coinbase_is_named_to_its_owner() {
    let mut settings = settings();
    settings.pace.start = Difficulty::of_hashes(1 << 14, 1, 1);
    let (server, kept) = server(settings);
    let mut plain = sample(3, 0, 1).unwrap();
    plain.claims.clear();
    let length = plain.work.prefix.len() + 12 + plain.work.suffix.len();
    server.publish(vec![Arc::new(plain)]);
    let habits = Habits { room: Some(100), ..Habits::MINERD };
    let mut miner = StratumMiner::start(server.address(), "farm.nerd", habits).unwrap();
    for _ in 0..18 {
        let found = miner.search(10_000_000).unwrap();
        assert!(matches!(miner.submit(&found).unwrap(), Answer::No(23, _)));
    }
    let warning = server.machines()[0].warning.clone().unwrap();
    assert!(warning.starts_with("coinbase too long for this firmware"), "{warning}");
    assert!(warning.contains(&format!("{length} bytes")), "{warning}");
    assert_eq!(kept.notes(), [warning.to_string()]);
    // With room for it, the same machine is welcome.
    let mut miner = StratumMiner::start(server.address(), "farm.nerd", Habits::MINERD).unwrap();
    miner.mine(1, Duration::from_secs(20)).unwrap();
}

#[test]
fn a_pause_sends_newcomers_away_and_a_new_job_ends_it() {
    let (server, kept) = server(settings());
    let mut old = StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
    server.pause("Bitcoin Core does not answer".to_owned());
    let mut new = StratumMiner::connect(server.address(), "farm.2", Habits::MINERD).unwrap();
    let refused = new.introduce().unwrap_err();
    assert!(refused.to_string().contains("Bitcoin Core does not answer"), "{refused}");
    assert!(new.hear(Duration::from_secs(5)).is_err());
    old.mine(2, Duration::from_secs(10)).unwrap();
    assert_eq!(kept.shares(), 2);
    server.publish(vec![job(3, 0, 1)]);
    StratumMiner::start(server.address(), "farm.2", Habits::MINERD).unwrap();
}

#[test]
fn without_new_work_machines_are_let_go_when_their_jobs_are_too_old() {
    let (server, _) = server(Settings { oldest_job: 300, ..settings() });
    let mut miner = StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
    server.pause("no node".to_owned());
    until("the machine is let go", || server.totals().open == 0);
    while miner.hear(Duration::from_secs(1)).is_ok() {}
    let last = miner.record().last().unwrap();
    assert!(last.contains("client.show_message") && last.contains("no node"), "{last}");
    assert_eq!((server.totals().closed, server.totals().bans), (0, 0));
}

#[test]
fn a_payee_whose_job_is_taken_down_mines_no_more_and_the_other_goes_on() {
    let (server, kept) = server(Settings { oldest_job: 300, ..settings() });
    let mut farm = StratumMiner::start(server.address(), "farm.1", Habits::BITAXE).unwrap();
    let mut alice = StratumMiner::start(server.address(), "alice.1", Habits::BITAXE).unwrap();
    server.publish(vec![job(3, 1, 1)]);
    server.clear(0, "the coinbase would pay nobody".to_owned());
    farm.mine(1, Duration::from_secs(10)).unwrap();
    until("the farm's machine is let go", || server.totals().open == 1);
    while farm.hear(Duration::from_secs(1)).is_ok() {}
    assert!(farm.record().last().unwrap().contains("the coinbase would pay nobody"));
    let mut new = StratumMiner::connect(server.address(), "farm.2", Habits::MINERD).unwrap();
    let refused = new.introduce().unwrap_err();
    assert!(refused.to_string().contains("the coinbase would pay nobody"), "{refused}");
    alice.mine(1, Duration::from_secs(10)).unwrap();
    assert!(kept.shares() >= 2);
    server.publish(vec![job(4, 0, 1)]);
    StratumMiner::start(server.address(), "farm.2", Habits::MINERD).unwrap();
}

#[test]
fn a_block_that_is_sent_again_is_handed_on_once() {
    let (server, kept) = server(settings());
    let mut easy = sample(3, 0, 1).unwrap();
    easy.work.bits = bitcoin::CompactTarget::from_consensus(0x207f_ffff);
    server.publish(vec![Arc::new(easy)]);
    let mut one = StratumMiner::start(server.address(), "farm.1", Habits::MINERD).unwrap();
    let block = one.search(100_000).unwrap();
    for _ in 0..5 {
        one.submit(&block).unwrap();
    }
    assert_eq!(kept.blocks(), 1);
    let other = one.search(100_000).unwrap();
    one.submit(&other).unwrap();
    assert_eq!(kept.blocks(), 2);
}

#[test]
fn stopping_lets_everybody_go_and_frees_the_port() {
    let (server, _) = server(settings());
    let address = server.address();
    let mut miner = StratumMiner::start(address, "farm.1", Habits::BITAXE).unwrap();
    server.stop();
    assert!(miner.hear(Duration::from_secs(5)).is_err());
    StratumMiner::connect(address, "farm.1", Habits::BITAXE).unwrap_err();
    let again = Settings { listen: address, ..settings() };
    let (again, _) = crate::world::server(again);
    let taken = Settings { listen: again.address(), ..settings() };
    let refused = Server::start(taken, payees(), Arc::new(Kept::default())).err().unwrap();
    assert_eq!(refused.rule(), "gateway-listen");
}

#[test]
fn a_machine_is_given_harder_work_until_it_sends_a_few_shares_a_minute() {
    let (server, _) = server(settings());
    let mut plain = sample(3, 0, 1).unwrap();
    plain.claims.clear();
    server.publish(vec![Arc::new(plain)]);
    let restarts = Habits { restarts: true, ..Habits::MINERD };
    let mut miner = StratumMiner::start(server.address(), "farm.1", restarts).unwrap();
    let easy = miner.target();
    miner.mine(30, Duration::from_secs(30)).unwrap();
    assert!(miner.target() < easy);
    let machine = server.machines().remove(0);
    // The harder job came while it worked, and nothing of its work was done twice.
    assert_eq!(machine.tally.rejected(Reject::Duplicate), 0);
    assert!(machine.difficulty.unwrap() > settings().pace.start);
    assert_eq!(machine.tally.rejected(Reject::LowDifficulty), 0);
}
