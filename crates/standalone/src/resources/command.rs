//! The table as subcommands: a verb's arguments are those of its operation.

use clap::{Arg, ArgAction, Args as _, Command, ValueHint, builder::PossibleValuesParser};
use reqwest::Method;

use super::{
    catalog::{Answers, Field, Operation, Shape, operation},
    print::Output,
    table::TABLE,
};
use crate::admin::Connection;

pub(super) const BODY: &str = "body";
pub(super) const CLEAR: &str = "clear";
pub(super) const IF_VERSION: &str = "if-version";
pub(super) const KEY: &str = "idempotency-key";
pub(super) const LIMIT: &str = "limit";

/// Puts every resource beside the subcommands that are there, and its verbs beside those that one of that name has.
pub fn graft(command: Command) -> Command {
    TABLE.iter().fold(command, |command, resource| {
        if command.find_subcommand(resource.name).is_some() {
            return command.mut_subcommand(resource.name, |command| command.about(resource.about).defer(verbs));
        }
        let own = Command::new(resource.name).about(resource.about).defer(verbs);
        command.subcommand(own.subcommand_required(true).arg_required_else_help(true))
    })
}

/// The verbs of a resource; looked at only once it is asked for, as the description has to be read for them.
fn verbs(command: Command) -> Command {
    let Some(resource) = TABLE.iter().find(|resource| resource.name == command.get_name()) else { return command };
    let known = resource.verbs.iter().filter_map(|(verb, id)| Some((*verb, operation(id)?)));
    known.fold(command, |command, (name, operation)| command.subcommand(verb(name, operation)))
}

fn verb(name: &'static str, it: &'static Operation) -> Command {
    let mut command = Command::new(name);
    for place in &it.places {
        command = command.arg(Arg::new(&*place.key).value_name(&*place.shown).required(true));
    }
    for field in &it.fields {
        command = command.arg(flag(field));
    }
    if it.takes_body {
        let help = "JSON of the body, from a file or with `-` from the standard input; flags go before what it says";
        command = command.arg(file(Arg::new(BODY).long(BODY).value_name("FILE").help(help)));
        if it.method != Method::POST {
            let help = "Takes a member away, by its name in JSON; may be given several times";
            let names = it.fields.iter().filter(|field| field.in_body).map(|field| field.name.as_str());
            let names = PossibleValuesParser::new(names.collect::<Vec<_>>());
            let arg = Arg::new(CLEAR).long(CLEAR).value_name("MEMBER").help(help).action(ArgAction::Append);
            command = command.arg(arg.value_parser(names).hide_possible_values(true));
        }
    }
    if takes_version(it) {
        let help = "Changes it only if it is this version, as `get` says it; otherwise exit code 4";
        command = command.arg(number(Arg::new(IF_VERSION).long(IF_VERSION).value_name("N").help(help)));
    }
    if it.makes {
        let help = "Asked again with the same key within 24 h, it is done once. Default: a random one";
        command = command.arg(Arg::new(KEY).long(KEY).value_name("TEXT").help(help));
    }
    if matches!(it.answers, Answers::List { .. }) {
        let help = "At most so many. Default: all";
        command = command.arg(number(Arg::new(LIMIT).long(LIMIT).value_name("N").help(help)));
    }
    // What these are made from says what they are about, too.
    Connection::augment_args(Output::augment_args(command)).about(&*it.about).long_about(None)
}

/// Whether it changes something that has a version.
pub(super) fn takes_version(it: &Operation) -> bool {
    it.method == Method::PUT
        || it.method == Method::PATCH
        || (it.method == Method::POST && it.takes_body && !it.places.is_empty())
}

fn flag(field: &'static Field) -> Arg {
    let arg = Arg::new(&*field.key).long(&*field.flag).help(&*field.about);
    match &field.shape {
        _ if field.from_file => file(arg.value_name("FILE")),
        Shape::Text => arg.value_name("TEXT").allow_hyphen_values(true),
        Shape::Words(words) => {
            let words: Vec<&'static str> = words.iter().map(String::as_str).collect();
            arg.value_parser(PossibleValuesParser::new(words))
        }
        Shape::Integer => arg.value_name("N").value_parser(clap::value_parser!(i64)).allow_negative_numbers(true),
        Shape::Boolean => {
            arg.value_name("BOOL").value_parser(clap::value_parser!(bool)).num_args(0..=1).default_missing_value("true")
        }
        Shape::Texts => arg.value_name("TEXT").action(ArgAction::Append).num_args(1),
        Shape::Json => arg.value_name("JSON").allow_hyphen_values(true),
    }
}

fn file(arg: Arg) -> Arg {
    arg.value_parser(clap::value_parser!(std::path::PathBuf)).value_hint(ValueHint::FilePath)
}

fn number(arg: Arg) -> Arg {
    arg.value_parser(clap::value_parser!(u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::table::OTHERS;

    /// Clap's own checks: no flag twice, no two arguments of one place.
    #[test]
    fn every_verb_of_the_table_can_be_typed() {
        let mut command = graft(Command::new("portcullis"));
        command.build();
        command.clone().debug_assert();
        for resource in TABLE {
            let found = command.find_subcommand(resource.name).unwrap();
            for (verb, id) in resource.verbs {
                let typed = found.find_subcommand(verb);
                let typed = typed.unwrap_or_else(|| panic!("{} {verb} is {id}, which there is not", resource.name));
                let (said, meant) = (typed.get_about().map(ToString::to_string), &operation(id).unwrap().about);
                assert_eq!((said.as_ref(), typed.get_long_about()), (Some(meant), None), "{} {verb}", resource.name);
            }
        }
    }

    #[test]
    fn every_column_is_a_member_of_what_is_listed() {
        let own = TABLE.iter().flat_map(|resource| {
            let lists = resource.verbs.iter().filter(|(verb, _)| *verb == "list");
            lists.map(|(_, id)| (*id, resource.columns))
        });
        for (id, columns) in own.chain(OTHERS.iter().copied()) {
            let members = &operation(id).unwrap().members;
            for column in columns.iter().filter(|_| !members.is_empty()) {
                assert!(
                    members.iter().any(|it| it == column.split('.').next().unwrap()),
                    "{id}: {column} of {members:?}"
                );
            }
        }
    }
}
