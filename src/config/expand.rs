//! `${VAR}` in a string value: the environment, put in after the TOML has been parsed.
//!
//! After, so that nothing in a variable can become syntax: a quote or a newline stays a character
//! of the value.

/// Looks a variable up; `None`: not defined.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The folder of a service's credentials (systemd.exec(5)), which units and scripts write without
/// braces.
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";

/// Puts variables into `text`; `Ok(None)` where there is nothing to put in.
///
/// A path that begins with `$CREDENTIALS_DIRECTORY/` is understood without the braces: no folder is
/// called so.
///
/// `${VAR}` must be defined, `${VAR:-default}` has a default where it is undefined or empty,
/// `${VAR:?message}` is refused with the message in that case, and `$${` stands for a literal `${`.
/// It does not nest, and what comes out of a variable is not expanded again.
///
/// # Errors
/// Every fault of this string.
pub(super) fn expand(text: &str, env: Environment<'_>) -> Result<Option<String>, Vec<String>> {
    if let Some(rest) =
        text.strip_prefix(CREDENTIALS).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return expand(&format!("${{CREDENTIALS_DIRECTORY}}{rest}"), env);
    }
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut faults = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((reference, after)) = after.split_once('}') else {
            faults.push("\"${\" without its \"}\"; a literal one is written \"$${\"".to_owned());
            rest = "";
            break;
        };
        match value_of(reference, env) {
            Ok(value) => expanded.push_str(&value),
            Err(fault) => faults.push(fault),
        }
        rest = after;
    }
    expanded.push_str(rest);
    if faults.is_empty() { Ok(Some(expanded)) } else { Err(faults) }
}

/// The value of what stands between the braces.
fn value_of(reference: &str, env: Environment<'_>) -> Result<String, String> {
    if reference.contains("${") {
        return Err(format!("\"${{{reference}\": one variable inside another is not understood"));
    }
    let end = reference
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(reference.len());
    let (name, modifier) = reference.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!(
            "\"${{{reference}}}\" does not begin with the name of a variable (letters, digits, \
             \"_\"); a literal \"${{\" is written \"$${{\""
        ));
    }
    let value = env(name);
    if modifier.is_empty() {
        return value.ok_or_else(|| {
            let whose = if name == "CREDENTIALS_DIRECTORY" {
                " (systemd defines it for a service with LoadCredential= or SetCredential=)"
            } else {
                ""
            };
            format!(
                "the environment variable {name} is not defined{whose}; \"${{{name}:-default}}\" \
                 gives it a default"
            )
        });
    }
    // As in a shell: with a colon, empty counts as undefined.
    let value = value.filter(|value| !value.is_empty());
    if let Some(default) = modifier.strip_prefix(":-") {
        Ok(value.unwrap_or_else(|| default.to_owned()))
    } else if let Some(message) = modifier.strip_prefix(":?") {
        value.ok_or_else(|| {
            let message = if message.is_empty() { "it is required" } else { message };
            format!("the environment variable {name} is not defined or empty: {message}")
        })
    } else {
        Err(format!(
            "\"${{{reference}}}\" is not understood; allowed are \"${{{name}}}\", \
             \"${{{name}:-default}}\" and \"${{{name}:?message}}\""
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${HOST}\"\n[server]".to_owned()),
            _ => None,
        }
    }

    fn expanded(text: &str) -> String {
        expand(text, &env).unwrap().unwrap_or_else(|| text.to_owned())
    }

    fn fault(text: &str) -> String {
        expand(text, &env).unwrap_err().join("; ")
    }

    #[test]
    fn variables_and_defaults_are_put_in() {
        assert_eq!(expanded("${HOST}"), "db");
        assert_eq!(expanded("a${HOST}b${HOST}c"), "adbbdbc");
        assert_eq!(expanded("${HOST:-other}"), "db");
        assert_eq!(expanded("${NONE:-other}"), "other");
        assert_eq!(expanded("${EMPTY:-other}"), "other");
        assert_eq!(expanded("${NONE:-}"), "");
        assert_eq!(expanded("${EMPTY}"), "");
        assert_eq!(expanded("${HOST:?needed}"), "db");
    }

    #[test]
    fn dollars_that_are_not_references_stay() {
        for text in ["$", "$HOST", "$$", "a$b", "}", "{x}"] {
            assert_eq!(expanded(text), text);
        }
        assert_eq!(expanded("$${HOST}"), "${HOST}");
        assert_eq!(expanded("$$${HOST}"), "$${HOST}");
        assert_eq!(expanded("$${${HOST}"), "${db");
    }

    #[test]
    fn the_folder_of_credentials_needs_no_braces_at_the_beginning_of_a_path() {
        let credentials = |name: &str| {
            (name == "CREDENTIALS_DIRECTORY").then(|| "/run/credentials/keyward".to_owned())
        };
        let expanded = |text: &str| expand(text, &credentials).unwrap();
        for text in ["$CREDENTIALS_DIRECTORY/redis", "${CREDENTIALS_DIRECTORY}/redis"] {
            assert_eq!(expanded(text).as_deref(), Some("/run/credentials/keyward/redis"));
        }
        assert_eq!(expanded("$CREDENTIALS_DIRECTORY").as_deref(), Some("/run/credentials/keyward"));
        for text in
            ["$CREDENTIALS_DIRECTORYS/redis", "x$CREDENTIALS_DIRECTORY", "$CREDENTIALS_DIRECTORY-x"]
        {
            assert_eq!(expanded(text), None);
        }
        assert!(fault("$CREDENTIALS_DIRECTORY/redis").contains("systemd defines it"));
    }

    #[test]
    fn what_comes_out_of_a_variable_is_not_expanded_again() {
        assert_eq!(expanded("${TRICK}"), "${HOST}\"\n[server]");
    }

    #[test]
    fn faults_say_what_is_wrong() {
        assert!(fault("${NONE}").contains("NONE is not defined"));
        assert!(fault("${NONE:?set it}").contains("NONE is not defined or empty: set it"));
        assert!(fault("${EMPTY:?}").contains("it is required"));
        assert!(fault("${HOST").contains("without its \"}\""));
        assert!(fault("${}").contains("does not begin with the name"));
        assert!(fault("${1A}").contains("does not begin with the name"));
        assert!(fault("${HOST-x}").contains("is not understood"));
        assert!(fault("${A:-${HOST}}").contains("inside another"));
        let both = fault("${NONE} ${OTHER}");
        assert!(both.contains("NONE") && both.contains("OTHER"), "{both}");
    }
}
