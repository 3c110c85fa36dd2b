//! The pages, and what is read out of them: sections, lists, tables, fenced blocks, code in the
//! text.

/// Every page, with its text.
pub(crate) const PAGES: [(&str, &str); 14] = [
    ("README.md", include_str!("../../README.md")),
    ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md")),
    ("docs/deployment.md", include_str!("../../docs/deployment.md")),
    ("docs/edge.md", include_str!("../../docs/edge.md")),
    ("docs/fleet.md", include_str!("../../docs/fleet.md")),
    ("docs/identity-providers.md", include_str!("../../docs/identity-providers.md")),
    ("docs/kubernetes.md", include_str!("../../docs/kubernetes.md")),
    (OPERATION, include_str!("../../docs/operation.md")),
    ("docs/performance.md", include_str!("../../docs/performance.md")),
    (SECURITY, include_str!("../../docs/security.md")),
    ("docs/sizing.md", include_str!("../../docs/sizing.md")),
    (TOKEN_APIS, include_str!("../../docs/token-apis.md")),
    ("docs/upgrade.md", include_str!("../../docs/upgrade.md")),
    ("examples/README.md", include_str!("../../examples/README.md")),
];
/// A page that is generated from the code; a unit test compares both.
pub(crate) const GENERATED: &str = "docs/configuration.md";
pub(crate) const OPERATION: &str = "docs/operation.md";
pub(crate) const SECURITY: &str = "docs/security.md";
pub(crate) const TOKEN_APIS: &str = "docs/token-apis.md";

/// The text of a page.
pub(crate) fn page(name: &str) -> &'static str {
    let found = PAGES.into_iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no page {name:?}")).1
}

/// The text under a heading of a page, up to the next.
pub(crate) fn section(name: &str, title: &str) -> &'static str {
    let (_, rest) = page(name)
        .split_once(&format!("\n## {title}\n"))
        .unwrap_or_else(|| panic!("no section {title:?} in {name}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The items of the lists in a section, each on one line.
pub(crate) fn items(name: &str, title: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in section(name, title).lines() {
        match (line.strip_prefix("* "), line.strip_prefix("  "), items.last_mut()) {
            (Some(first), _, _) => items.push(first.to_owned()),
            (None, Some(more), Some(item)) => {
                item.push(' ');
                item.push_str(more.trim_start());
            }
            _ => {}
        }
    }
    items
}

/// What stands between backticks.
pub(crate) fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What an item is about: what stands between backticks before its colon.
pub(crate) fn subjects(item: &str) -> impl Iterator<Item = &str> {
    code(item.split_once(": ").expect("a subject and what is said of it").0)
}

/// A page without its blocks, on one line.
pub(crate) fn prose(text: &str) -> String {
    let outside: Vec<_> = text.split("```").step_by(2).collect();
    outside.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fenced blocks of a text, each with its language.
pub(crate) fn blocks(text: &'static str) -> Vec<(&'static str, &'static str)> {
    let fenced = text.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a language and a body")).collect()
}

/// The rows of the tables in a section whose first cell is code: the code of each cell.
pub(crate) fn rows(name: &str, title: &str) -> Vec<Vec<Vec<String>>> {
    let code = |cell: &str| code(cell).map(str::to_owned).collect::<Vec<_>>();
    let lines = section(name, title).lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(code).collect::<Vec<_>>());
    cells.filter(|cells| !cells[0].is_empty()).collect()
}

/// The first block of a section in a language.
pub(crate) fn block(name: &str, title: &str, language: &str) -> &'static str {
    let found = blocks(section(name, title)).into_iter().find(|(kind, _)| *kind == language);
    found.unwrap_or_else(|| panic!("no {language} in {title:?} of {name}")).1
}
