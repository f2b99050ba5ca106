//! Work as strangers show it: each rule and each known trick, from the outside of the library.
//!
//! Every rule of a share, of a certificate and of a farm is examined both ways, in the manner of
//! `tests/policy`: an honest case, changed in one point, passes or is refused by this very rule.
//! [`register`] names the attacks and fails if one has fewer than one case that passes and two that
//! are refused. What cannot be said by single cases is said by random ones ([`credits`]). And what is
//! kept survives being killed ([`killed`]).

#[path = "../policy/examine.rs"]
#[macro_use]
mod examine;
mod made;
mod register;
mod world;

mod certificates;
mod coinbases;
mod credits;
mod farms;
mod headers;
mod killed;
mod receipts;
