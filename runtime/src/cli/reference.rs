//! What the command line says of itself: help in groups, completions for shells, man pages, and a page of the documentation.

use std::path::Path;

use anyhow::Context as _;
use clap::{Arg, Command};
use clap_complete::Shell;

use super::tell;

/// The commands by what somebody wants to do; a test puts each into one group.
const GROUPS: &[(&str, &[&str])] = &[
    ("Run it", &["run", "dev", "schema", "config", "doctor", "drain"]),
    ("See how it goes", &["status", "instances", "samples", "holds", "audit"]),
    ("Messages", &["messages", "dead", "resend", "discard", "replay", "pause", "resume"]),
    ("Transactions, consumers, endpoints, plugins", &["tx", "consumers", "endpoint", "inbox", "plugin"]),
    ("Around it", &["token", "session", "alarm", "completions", "man", "help"]),
];

const PAGE: &str = "# The command line\n\n\
    Made from the commands' own help by `avouch man --markdown`, and compared with it by \
    `command_reference_is_what_the_commands_say_of_themselves`.\n\n\
    Every command that lists or changes something takes `--json` and then prints one JSON document, the API's own. Exit codes: 0, it is \
    done; 1, it is not, or not all of it; 2, the command line is wrong. Colours and progress are for terminals alone, and `NO_COLOR` \
    turns colours off. Who did something stands in the audit as `cli:<user>@<host>`.\n";

/// With the commands of its help in groups.
pub fn grouped(command: Command) -> Command {
    let (header, literal) = (*command.get_styles().get_header(), *command.get_styles().get_literal());
    let mut text = String::new();
    for (title, names) in GROUPS {
        text += &format!("\n{header}{title}:{header:#}\n");
        for name in *names {
            let about = command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string);
            let about = about.unwrap_or_else(|| "Print this, or what a command takes".to_owned());
            text += &format!("  {literal}{name:<12}{literal:#} {about}\n");
        }
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{text}\n{header}Options:{header:#}\n{{options}}"
    ))
}

/// Prints what makes a shell complete our commands.
pub fn completions(mut command: Command, shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "avouch", &mut script);
    tell::text(&String::from_utf8(script).context("the script is no text")?)
}

/// Writes a man page for each command into this directory, or prints that of `avouch`.
pub fn man(command: Command, dir: Option<&Path>) -> anyhow::Result<()> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return tell::text(&String::from_utf8(page).context("the page is no text")?);
    };
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    clap_mangen::generate_to(command, dir).with_context(|| dir.display().to_string())?;
    tell::text(&format!("the pages are in {}: man -l {}/avouch.1", dir.display(), dir.display()))
}

/// The commands and what they take, for the documentation.
pub fn markdown(mut command: Command) -> String {
    // Arguments know how they are written once all is built.
    command.build();
    let mut page = PAGE.to_owned();
    for (title, names) in GROUPS {
        page += &format!("\n## {title}\n");
        for sub in names.iter().filter(|name| **name != "help").filter_map(|name| command.find_subcommand(name)) {
            section(&mut page, sub, "avouch");
        }
    }
    page += "\n## Everywhere\n\n";
    let global = command.get_arguments().filter(|arg| arg.is_global_set());
    global.filter(|arg| !is_clap_s(arg)).for_each(|arg| page += &item(arg));
    page
}

/// What clap adds by itself.
fn is_clap_s(arg: &Arg) -> bool {
    ["help", "version"].contains(&arg.get_id().as_str())
}

fn section(page: &mut String, command: &Command, above: &str) {
    let path = format!("{above} {}", command.get_name());
    let own: Vec<&Arg> = command.get_arguments().filter(|arg| !arg.is_global_set() && !is_clap_s(arg)).collect();
    let places: String = own.iter().filter(|arg| arg.is_positional()).map(|arg| format!(" {arg}")).collect();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let aliases: Vec<String> = command.get_visible_aliases().map(|alias| format!("`{above} {alias}`")).collect();
    let also = if aliases.is_empty() { String::new() } else { format!(" Also {}.", aliases.join(", ")) };
    *page += &format!("\n### `{path}{places}`\n\n{about}.{also}\n");
    if !own.is_empty() {
        *page += "\n";
    }
    own.iter().for_each(|arg| *page += &item(arg));
    let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    subs.for_each(|sub| section(page, sub, &path));
}

fn item(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let is_flag = !arg.get_action().takes_values();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    let default =
        if defaults.is_empty() || is_flag { String::new() } else { format!(" [default: {}]", defaults.join(" ")) };
    format!("- `{arg}`: {help}{default}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn every_command_is_in_one_group_of_the_help_and_can_be_parsed() {
        let command = command();
        command.clone().debug_assert();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let times = grouped.iter().filter(|name| **name == sub.get_name()).count();
            assert_eq!(times, 1, "{} must be in one group", sub.get_name());
        }
        for name in grouped {
            assert!(name == "help" || command.find_subcommand(name).is_some(), "{name} is no command");
        }
    }

    #[test]
    fn every_command_and_argument_says_what_it_is() {
        fn look(command: &Command) {
            assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} of {} says nothing", arg.get_id(), command.get_name());
            }
            command.get_subcommands().filter(|sub| !sub.is_hide_set()).for_each(look);
        }
        look(&command());
    }
}
