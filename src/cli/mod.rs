//! What the command `hashmix` does, one file per subject: functions that take parsed arguments and
//! answer with lines of text.
//!
//! | outcome | where it goes | exit code |
//! |---|---|---|
//! | done | lines on standard output | 0 |
//! | anything else | one line on standard error: kind, rule id, place, expected, found, advice | [`Error::exit_code`] |
//!
//! Nothing is printed before a command is done, so a refusal never follows half an answer (the demo
//! and a contract that is watched tell their story as it happens, and a seed that lies in plain is warned of; a validator's
//! answer that refuses everything is printed whole, and the error says so behind it), and files are
//! written under another name and moved into
//! place when they are whole.

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use clap::error::{ContextKind, ErrorKind};

use crate::error::{Error, Result, Rule};

pub mod arguments;
pub mod certificate;
pub mod chart;
pub mod contract;
#[cfg(feature = "regtest")]
pub mod demo;
pub mod descriptor;
pub mod dossier;
pub mod file;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod headers;
pub mod odds;
pub mod position;
pub mod psbt;
pub mod record;
pub mod rules;
pub mod sale;
pub mod secret;
pub mod seed;
pub mod show;
pub mod simulate;
pub mod summary;
pub mod terminal;
pub mod terms;
pub mod units;
pub mod validator;
pub mod wallet;
pub mod work;

use arguments::{
    Arguments, Command, DescriptorCommand, HeadersCommand, PsbtCommand, RecordCommand, SeedCommand,
    TermsCommand, ValidatorCommand, WalletCommand, WorkCommand,
};

/// Arguments are those of the help.
pub const ARGUMENTS: Rule = Rule::new(
    "cli-arguments",
    "commands and arguments are those that the help shows",
    "see `hashmix --help` or the help of the subcommand",
);
/// The answer reaches whoever asked.
pub const OUTPUT: Rule = Rule::new(
    "cli-output",
    "the answer can be written to standard output",
    "check where the output goes and whether the disk is full",
);

/// Runs the command and answers with its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    match parse(arguments).and_then(|said| match said {
        Said::Text(text) => print(&text),
        Said::Command(command) => {
            let Done { lines, but } = perform(*command)?;
            print(&text_of(&lines))?;
            but.map_or(Ok(()), Err)
        }
    }) {
        Ok(()) => 0,
        Err(error) => {
            // If standard error is gone too, the exit code is all that is left to say.
            let _ = writeln!(std::io::stderr(), "{error}");
            error.exit_code()
        }
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Done {
    /// What is printed.
    pub lines: Vec<String>,
    /// What is told behind it, with its exit code: an answer was given, and it is a refusal.
    pub but: Option<Error>,
}

impl From<Vec<String>> for Done {
    fn from(lines: Vec<String>) -> Self {
        Self { lines, but: None }
    }
}

/// What the command line asks for.
enum Said {
    /// Help or version.
    Text(String),
    /// Work.
    Command(Box<Command>),
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Said> {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => Ok(Said::Command(Box::new(arguments.command))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Said::Text(error.to_string())),
            _ => Err(misused(&error)),
        },
    }
}

/// The parser's complaint in our one line.
fn misused(error: &clap::Error) -> Error {
    let text = error.to_string();
    let usage = text.lines().find_map(|line| line.trim().strip_prefix("Usage: "));
    let expected = usage.unwrap_or("what the help shows").to_owned();
    let found = match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "nothing behind it".to_owned()
        }
        _ => {
            let complaint = text
                .lines()
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
            let words: Vec<&str> = complaint.flat_map(str::split_whitespace).collect();
            let line = words.join(" ");
            line.strip_prefix("error: ").unwrap_or(&line).to_owned()
        }
    };
    let place = match error.get(ContextKind::InvalidArg) {
        Some(clap::error::ContextValue::String(argument)) => format!("argument {argument}"),
        _ => "command line".to_owned(),
    };
    ARGUMENTS.misused(place, expected, found)
}

fn perform(command: Command) -> Result<Done> {
    let lines = match command {
        #[cfg(feature = "regtest")]
        Command::Demo(arguments) => demo::run(&arguments).map(|()| Vec::new()),
        Command::Work(WorkCommand::Verify(arguments)) => match arguments.terms.clone() {
            Some(terms) => return certificate::verify(&terms, &arguments),
            None => work::verify_share(arguments),
        },
        Command::Work(WorkCommand::Show(arguments)) => show::show(&arguments),
        Command::Work(WorkCommand::Odds { terms, alpha_ppm }) => odds::show(&terms, alpha_ppm),
        Command::Work(WorkCommand::Simulate { seed, draws }) => {
            return simulate::simulate(seed, draws);
        }
        Command::Seed(SeedCommand::New { out, passphrase }) => seed::new(&out, &passphrase),
        Command::Seed(SeedCommand::Words(source)) => seed::words(&source),
        Command::Seed(SeedCommand::Restore { out, words, passphrase }) => {
            seed::restore(&out, words.as_deref(), &passphrase)
        }
        Command::Seed(SeedCommand::Passphrase { source, out, passphrase }) => {
            seed::passphrase(&source, &out, &passphrase.into())
        }
        Command::Record(RecordCommand::New(arguments)) => record::new(&arguments),
        Command::Record(RecordCommand::Check { files }) => record::check(&files),
        Command::Terms(TermsCommand::Check { file }) => terms::check(&file),
        Command::Terms(TermsCommand::Show { file }) => terms::show(&file),
        Command::Terms(TermsCommand::Address { file, index, lock }) => {
            terms::address(&file, index, lock)
        }
        Command::Terms(TermsCommand::Descriptor { file }) => terms::descriptor(&file),
        Command::Terms(TermsCommand::Sign(arguments)) => terms::sign(&arguments),
        Command::Psbt(PsbtCommand::Check { file, terms, seals }) => {
            psbt::check(&file, &terms, &seals)
        }
        Command::Sale(command) => return sale::perform(command),
        Command::Contract(command) => return contract::perform(&command),
        Command::Descriptor(DescriptorCommand::Check { descriptor, network, terms }) => {
            descriptor::check(&descriptor, network, terms.as_deref())
        }
        Command::Wallet(WalletCommand::Address(home)) => wallet::address(&home),
        Command::Wallet(WalletCommand::Balance { home, server }) => {
            wallet::balance(&home, &server.electrum)
        }
        Command::Wallet(WalletCommand::Send { home, server, to, sat, fee_rate }) => {
            wallet::send(&home, &server.electrum, &to, sat, fee_rate)
        }
        Command::Validator(command) => return at_desk(command),
        Command::Position(command) => return position::perform(&command),
        #[cfg(feature = "gateway")]
        Command::Gateway(arguments::GatewayCommand::Run(arguments)) => gateway::run(&arguments),
        #[cfg(feature = "gateway")]
        Command::Gateway(arguments::GatewayCommand::Check(arguments)) => gateway::check(&arguments),
        #[cfg(feature = "gateway")]
        Command::Gateway(arguments::GatewayCommand::Status { url, json }) => {
            gateway::status(&url, json)
        }
        Command::Headers(HeadersCommand::Sync { folder, server }) => {
            headers::sync(&folder, &server.electrum)
        }
        Command::Headers(HeadersCommand::Show(folder)) => headers::show(&folder),
        Command::Rules { about, markdown } => rules::list(about.as_deref(), markdown),
    };
    lines.map(Done::from)
}

fn at_desk(command: ValidatorCommand) -> Result<Done> {
    let lines = match command {
        ValidatorCommand::Register { desk, file } => validator::register(&desk, &file),
        ValidatorCommand::Rule { desk, file, out } => {
            return validator::rule(&desk, &file, out.as_deref());
        }
        ValidatorCommand::Status { desk, contract } => {
            validator::status(&desk, contract.as_deref())
        }
        ValidatorCommand::Request(arguments) => validator::request(&arguments),
        #[cfg(feature = "validator")]
        ValidatorCommand::Serve { desk, listen, peer } => validator::serve(&desk, listen, &peer),
        ValidatorCommand::Resolve { desk, contract, out } => {
            validator::resolve(&desk, &contract, out.as_deref())
        }
    };
    lines.map(Done::from)
}

fn text_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads through a pipe may stop when he has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(OUTPUT.unstored("standard output", "room for the answer", error))
        }
        _ => Ok(()),
    }
}
