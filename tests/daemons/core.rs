//! Bitcoin Core over its RPC: templates, blocks, restarts.

use bitcoin::{Amount, Block, BlockHash, Network, ScriptBuf, TxOut};
use hashmix::chain::core::{Auth, Core, Patience};
use hashmix::rehearsal::daemons::Bitcoind;
use hashmix::work::grind::grind;
use hashmix::work::template::BlockTemplate;

/// Gives up at once.
fn hasty() -> Patience {
    Patience { attempts: 1, ..Patience::default() }
}

fn anyone(value: Amount) -> TxOut {
    TxOut { value, script_pubkey: ScriptBuf::from_bytes(vec![0x51]) }
}

fn mined(template: &BlockTemplate, extra_nonce: &[u8]) -> Block {
    let job = template.job(extra_nonce, &[anyone(template.reward)]).unwrap();
    let header = grind(&job, 0, u64::MAX, job.header.target()).next().unwrap();
    template.block(header, job.coinbase)
}

fn submit_next(core: &Core, extra_nonce: &[u8]) -> BlockHash {
    core.submit(&mined(&core.template().unwrap(), extra_nonce)).unwrap()
}

#[test]
fn our_blocks_on_its_templates_are_accepted_and_read_back() {
    let node = Bitcoind::start(Network::Regtest).unwrap();
    let core = node.core();
    assert_eq!(core.tip().unwrap().0, 0);
    let template = core.template().unwrap();
    assert_eq!(template.height, 1);
    assert_eq!(template.reward, Amount::from_int_btc(50));
    let block = mined(&template, b"first");
    let hash = core.submit(&block).unwrap();
    assert_eq!(core.tip().unwrap(), (1, hash));
    assert_eq!(core.block_at(1).unwrap(), block);
    assert_eq!(core.submit(&block).unwrap(), hash, "known: just as well");
    assert!(core.mempool().unwrap().is_empty());
}

#[test]
fn a_block_that_breaks_a_rule_is_refused_in_its_own_words() {
    let node = Bitcoind::start(Network::Regtest).unwrap();
    let mut template = node.core().template().unwrap();
    template.reward += Amount::from_sat(1);
    let greedy = mined(&template, b"greedy");
    let refused = node.core().submit(&greedy).unwrap_err();
    assert_eq!(refused.rule(), "core-block");
    assert!(refused.fault().found.contains("bad-cb-amount"), "{refused}");
    assert_eq!(node.core().tip().unwrap().0, 0);
}

#[test]
fn a_side_branch_is_kept_until_it_wins() {
    let node = Bitcoind::start(Network::Regtest).unwrap();
    let core = node.core();
    let fork = core.template().unwrap();
    let first = core.submit(&mined(&fork, b"first")).unwrap();
    let side = mined(&fork, b"second");
    let beside = core.submit(&side).unwrap();
    assert_eq!(core.tip().unwrap(), (1, first));
    let above = BlockTemplate { parent: beside, height: 2, time: side.header.time + 1, ..fork };
    let winner = core.submit(&mined(&above, b"third")).unwrap();
    assert_eq!(core.tip().unwrap(), (2, winner));
    assert_eq!(core.block_at(1).unwrap(), side);
}

#[test]
fn a_restart_keeps_the_chain_and_changes_the_cookie_unnoticed() {
    let mut node = Bitcoind::start(Network::Regtest).unwrap();
    let ours = Core::connect(node.url(), Auth::Cookie(node.cookie()), Network::Regtest).unwrap();
    let tip = submit_next(&ours, b"before");
    let old = std::fs::read_to_string(node.cookie()).unwrap();
    node.restart().unwrap();
    assert_ne!(std::fs::read_to_string(node.cookie()).unwrap(), old);
    assert_eq!(ours.tip().unwrap(), (1, tip));
    node.kill();
    node.resume().unwrap();
    assert_eq!(submit_next(&ours, b"after"), ours.tip().unwrap().1);
}

#[test]
fn a_node_of_another_network_is_named_in_one_line() {
    let node = Bitcoind::start(Network::Bitcoin).unwrap();
    assert_eq!(node.core().tip().unwrap().0, 0);
    let auth = Auth::Cookie(node.cookie());
    let error = Core::connect(node.url(), auth, Network::Testnet4).unwrap_err();
    assert_eq!(error.rule(), "core-network");
    let line = error.to_string();
    assert!(line.contains("expected testnet4, found main;"), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn nothing_is_mined_on_a_node_that_is_out_of_step_with_its_network() {
    let node = Bitcoind::start(Network::Bitcoin).unwrap();
    let error = node.core().template().unwrap_err();
    assert_eq!(error.rule(), "core-node");
    assert!(error.fault().found.contains("not connected"), "{error}");
}

#[test]
fn a_node_that_is_down_is_one_line_with_the_rule() {
    let mut node = Bitcoind::start(Network::Regtest).unwrap();
    let auth = Auth::Cookie(node.cookie());
    let core = Core::connect_with(node.url(), auth, Network::Regtest, hasty()).unwrap();
    node.stop().unwrap();
    let error = core.tip().unwrap_err();
    assert_eq!(error.rule(), "core-node");
    assert_eq!(error.exit_code(), 5);
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() {
    let node = Bitcoind::start(Network::Regtest).unwrap();
    let auth = Auth::Password { user: "somebody".into(), password: "sesame".into() };
    assert!(!format!("{auth:?}").contains("sesame"));
    let error = Core::connect(node.url(), auth, Network::Regtest).unwrap_err();
    assert_eq!(error.rule(), "core-auth");
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[test]
fn a_method_that_does_not_exist_is_refused_with_the_reason() {
    let node = Bitcoind::start(Network::Regtest).unwrap();
    let error = node.core().call("mineforme", &[]).unwrap_err();
    assert_eq!(error.rule(), "core-asked");
    assert!(error.fault().found.contains("Method not found (code -32601)"), "{error}");
}
