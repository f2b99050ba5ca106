//! Which of the transfers that somebody sent are true.

use hashmix::cli::position::folder;
use hashmix::flow::position::dossier::Transfer;
use hashmix::flow::position::papers::Papers;
use hashmix::flow::position::title::{Chosen, choose};

use crate::made::{Story, answered, follow, holder_record};

fn papers(story: &Story, sent: &[(&str, &Transfer)]) -> Papers {
    let mut papers = Papers::new(story.terms.clone(), story.issue.clone()).unwrap();
    for (name, transfer) in sent {
        papers.take(*name, (*transfer).clone());
    }
    papers
}

/// What the chain chooses, and the rules of what it refuses, by name.
fn chosen(story: &Story, papers: &Papers) -> (Vec<Transfer>, Vec<(String, &'static str)>) {
    let Chosen { dossier, refused } =
        answered(papers.scripts().unwrap(), &story.txs, |known| choose(papers, known)).unwrap();
    let all = dossier.openings().iter().map(|opening| opening.transfer.clone()).collect();
    (all, refused.into_iter().map(|(name, error)| (name, error.rule())).collect())
}

fn told(names: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    names.iter().map(|(name, rule)| ((*name).to_owned(), *rule)).collect()
}

/// Sold, withdrawn, and handed on.
fn story() -> Story {
    let mut story = Story::in_memory("rehearsal");
    story.sell(1, 60_000_000, 0);
    story.withdraw();
    story.hand_to(2);
    story
}

#[test]
fn a_true_dossier_is_chosen_whole() {
    let story = story();
    let [sold, withdrawn, handed] = &story.transfers[..] else { panic!() };
    let papers = papers(&story, &[("3", handed), ("1", sold), ("2", withdrawn)]);
    assert_eq!(papers.scripts().unwrap().len(), 4);
    assert_eq!(chosen(&story, &papers), (story.transfers.clone(), Vec::new()));
}

#[test]
fn rivals_of_true_transfers_are_told_and_hide_nothing() {
    let story = story();
    let [sold, withdrawn, handed] = &story.transfers[..] else { panic!() };
    let other = |of: &Transfer| Transfer { record: holder_record(7), ..of.clone() };
    let (first, second, third) = (other(sold), other(withdrawn), other(handed));
    let papers = papers(
        &story,
        &[
            ("a rival", &first),
            ("b rival", &second),
            ("c rival", &third),
            ("sold", sold),
            ("sold again", sold),
            ("withdrawn", withdrawn),
            ("handed", handed),
        ],
    );
    assert!(papers.whole().is_err(), "numbers come twice");
    let (all, refused) = chosen(&story, &papers);
    assert_eq!(all, story.transfers);
    let rule = "title-opens";
    assert_eq!(refused, told(&[("a rival", rule), ("b rival", rule), ("c rival", rule)]));
    // The title is that of the true ones.
    let dossier = papers_of(&story).whole().unwrap();
    assert_eq!(follow(&dossier, &story.txs).unwrap(), story.title());
}

fn papers_of(story: &Story) -> Papers {
    let sent: Vec<(&str, &Transfer)> = story.transfers.iter().map(|one| ("", one)).collect();
    papers(story, &sent)
}

#[test]
fn a_transfer_that_was_never_confirmed_waits_and_the_rest_is_judged() {
    let mut story = story();
    let before = story.transfers.clone();
    story.hand_to(3);
    // It was sent, and then replaced: nobody knows the transaction.
    story.txs.pop();
    let (all, refused) = chosen(&story, &papers_of(&story));
    assert_eq!((all, refused), (before, told(&[("", "title-waiting")])));
}

#[test]
fn what_is_missing_is_not_made_up_by_what_is_false() {
    let story = story();
    let [sold, withdrawn, handed] = &story.transfers[..] else { panic!() };
    let rival = Transfer { record: holder_record(7), ..withdrawn.clone() };
    let papers = papers(&story, &[("1", sold), ("2", &rival), ("3", handed)]);
    let (all, refused) = chosen(&story, &papers);
    assert_eq!(all, [sold.clone(), handed.clone()]);
    assert_eq!(refused, told(&[("2", "title-opens")]));
    let dossier = papers_of(&story).whole().unwrap();
    assert_eq!(dossier.openings().len(), 3);
}

#[test]
fn what_is_of_another_position_or_of_no_number_is_no_paper_of_this_one() {
    let story = story();
    let mut foreign = story.transfers[0].clone();
    foreign.position.0[0] ^= 1;
    let none = Transfer { number: 0, ..story.transfers[0].clone() };
    let mut changed = story.transfers[0].clone();
    changed.record.record.contract = "another".to_owned();
    let papers = papers(&story, &[("a", &foreign), ("b", &none), ("c", &changed)]);
    assert!(papers.papers().is_empty());
    let rules: Vec<_> = papers.refused().iter().map(|(_, error)| error.rule()).collect();
    assert_eq!(rules[..2], ["title-position", "title-numbers"]);
    assert_eq!(rules.len(), 3);
    assert!(chosen(&story, &papers).0.is_empty());
}

#[test]
fn the_file_of_an_issue_that_died_makes_room_and_no_other_does() {
    let story = story();
    let dir = tempfile::tempdir().unwrap();
    let (first, mut second) = (story.issue.clone(), story.issue.clone());
    second.txid = second.funding.txid;
    assert!(folder::write_issue(dir.path(), &first, &[]).unwrap());
    assert!(!folder::write_issue(dir.path(), &first, &[]).unwrap());
    for dead in [&[][..], &[second.txid]] {
        let refused = folder::write_issue(dir.path(), &second, dead).unwrap_err();
        assert_eq!(refused.rule(), "title-issued");
    }
    assert!(folder::write_issue(dir.path(), &second, &[first.txid]).unwrap());
    let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(text("issue.json"), second.to_json().unwrap());
    let aside = format!("issue-dead-{}.json", first.txid);
    assert_eq!(text(&aside), first.to_json().unwrap());
}
