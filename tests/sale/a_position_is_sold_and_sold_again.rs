//! A position's life after its issue, from its first sale to its retirement.

use crate::life::live;
use crate::market::Market;

#[test]
fn a_position_is_sold_delivers_is_sold_twice_more_and_retires() {
    let mut moves = Vec::new();
    live(&mut Market::issued(), &mut |by, _| moves.push(by.to_owned()));
    assert_eq!(moves, ["issue", "sale", "resale", "second resale", "retirement"]);
}
