//! Trouble on the way to the server, for people in the middle of a contract. A proxy stands between
//! an engine and the world's Electrum server; or the server ends.

mod broken_at_every_line;
mod nobody_is_there;
mod play;
mod proxy;
mod the_server_says_what_it_likes;
mod words_get_lost;
