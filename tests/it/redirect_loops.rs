//! Redirects that never end are found before they are put in force.

use crate::support::{Plan, World};

fn start(routes: &[&str]) -> World {
    let plan = routes.iter().fold(Plan::bare(), |plan, route| plan.route(&public(route)));
    plan.start()
}

fn public(lines: &str) -> String {
    format!("public = true\n{lines}")
}

#[test]
fn a_redirect_that_never_ends_is_a_fault_that_shows_an_example() {
    let endless = [
        // To itself: literally, by a parameter, by the rest, by what a parameter may be.
        (
            "path = \"/same\"\nredirect.to = \"/same\"",
            "GET http://host.example/same is led to /same",
        ),
        ("path = \"/user/{name}\"\nredirect.to = \"/user/{name}\"", "/user/a is led to /user/a"),
        ("path = \"/all/{*rest}\"\nredirect.to = \"/all/{rest}\"", "/all/a/a is led to /all/a/a"),
        ("path = \"/{lang}/home\"\nredirect.to = \"/en/home\"", "/a/home is led to /en/home"),
        ("path = \"/old/{*rest}\"\nredirect.to = \"/old/\"", "/old/a/a is led to /old/"),
        ("path = \"/query\"\nredirect.to = \"/query?a=b\"", "/query is led to /query?a=b"),
        // Further and further.
        ("path = \"/deep/{*rest}\"\nredirect.to = \"/deep/er/{rest}\"", "is led to /deep/er/a/a"),
        // In a circle.
        ("path = \"/ring/1/{x}\"\nredirect.to = \"/ring/2/{x}\"", "/ring/1/a is led to /ring/2/a"),
        ("path = \"/ring/2/{x}\"\nredirect.to = \"/ring/1/{x}\"", "/ring/2/a is led to /ring/1/a"),
        // By an address, where that is this keyward's own.
        (
            "scheme = \"https\"\nhost = \"www.example.com\"\npath = \"/www/{*rest}\"\n\
             redirect.to = \"https://www.example.com:443/www/{rest}\"",
            "/www/a/a is led to https://www.example.com:443/www/a/a",
        ),
        (
            "host = \"*.example.org\"\npath = \"/sub\"\nredirect.to = \"http://{host}/sub\"",
            "http://a.example.org/sub is led to http://a.example.org/sub",
        ),
        // As what chooses the route stays.
        (
            "path = \"/when\"\nwhen.query = { \"a b\" = \"1&2\" }\nredirect.to = \"/when\"",
            "/when?a%20b=1%262 is led to /when?a%20b=1%262",
        ),
        ("path = \"/post\"\nmethods = [\"POST\"]\nredirect.to = \"/post\"", "POST http://"),
        (
            "scheme = \"https\"\npath = \"/tls\"\nredirect.to = \"https://{host}/tls\"",
            "https://host.example/tls is led to https://host.example/tls",
        ),
    ];
    let world = Plan::bare().prepare();
    let all = endless.iter().fold(Plan::bare(), |plan, (route, _)| plan.route(&public(route)));
    world.configure(&all);
    let refused = world.run(&["validate"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let faults: Vec<_> =
        said.lines().filter(|line| line.contains("\"to\" leads to no answer")).collect();
    assert_eq!(faults.len(), endless.len(), "{said}");
    for ((route, example), fault) in endless.iter().zip(faults) {
        assert!(fault.contains(example), "{route}: {fault}");
        assert!(fault.ends_with("and from there on without an end"), "{fault}");
    }
}

/// A load balancer in front may lead some requests to that host elsewhere.
#[test]
fn a_redirect_that_never_ends_by_another_host_of_this_keyward_is_a_warning() {
    let routes = [
        "path = \"/{*rest}\"\nredirect.to = \"https://www.example.com/{rest}\"",
        "host = \"www.example.com\"\npath = \"/api/{*rest}\"\nrespond.body = \"api\"",
    ];
    let world = start(&routes);
    let said = world.run(&["validate"]);
    assert_eq!(said.status.code(), Some(0));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let warning = "\"to\" leads to no answer: GET http://host.example/a/a is led to \
                   https://www.example.com/a/a, and from there on without an end, if requests to \
                   www.example.com come to this keyward";
    assert!(said.lines().any(|line| line.ends_with(warning)), "{said}");
    assert!(world.output().contains("leads to no answer"), "{}", world.output());
    // One that the other host answers is none.
    let more = "host = \"www.example.com\"\npath = \"/{*rest}\"\nrespond.body = \"www\"";
    let plan = routes.iter().chain([&more]);
    world.configure(&plan.fold(Plan::bare(), |plan, route| plan.route(&public(route))));
    let said = world.run(&["validate"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.contains("leads to no answer"), "{said}");
}

/// Another program may have the port of the other scheme, and a proxy in front may tell by a field
/// what came to it, or who is logged in by now.
#[test]
fn a_redirect_that_may_never_end_by_its_scheme_or_a_header_is_a_warning() {
    let same = "what \"when.headers\" asks for is the same in all of these requests";
    let https = "if requests by https come to this keyward";
    let remedy = "for requests by http alone, say scheme = \"http\" on this [[route]]";
    let doubtful = [
        (
            "path = \"/host/{*rest}\"\nredirect.to = \"https://{host}/host/{rest}\"",
            "GET http://host.example/host/a/a is led to https://host.example/host/a/a",
            format!("{https}; {remedy}"),
        ),
        (
            "path = \"/x/{*rest}\"\nwhen.headers = { CloudFront-Forwarded-Proto = \"http\" }\n\
             redirect.to = \"https://{host}/x/{rest}\"",
            "GET http://host.example/x/a/a is led to https://host.example/x/a/a",
            format!("{https} and {same}; {remedy}"),
        ),
        (
            "path = \"/when\"\nwhen.headers = { X-A = true }\nredirect.to = \"/when\"",
            "GET http://host.example/when is led to /when",
            format!("if {same}"),
        ),
        (
            "scheme = \"http\"\npath = \"/both\"\nredirect.to = \"https://{host}/both\"",
            "GET http://host.example/both is led to https://host.example/both",
            https.to_owned(),
        ),
        (
            "scheme = \"https\"\npath = \"/both\"\nredirect.to = \"http://{host}/both\"",
            "GET https://host.example/both is led to http://host.example/both",
            "if requests by http come to this keyward".to_owned(),
        ),
        (
            "path = \"/page\"\nredirect = { to = \"/login\", status = 303 }",
            "GET http://host.example/page is led to /login",
            format!("if {same}"),
        ),
        (
            "path = \"/login\"\nredirect = { to = \"/page\", status = 303 }",
            "GET http://host.example/login is led to /page",
            format!("if {same}"),
        ),
    ];
    let known = "path = \"/page\"\nwhen.headers = { X-User = true }\nrespond.body = \"page\"";
    let routes: Vec<_> = doubtful.iter().map(|(route, ..)| *route).chain([known]).collect();
    let world = start(&routes);
    let said = world.run(&["validate"]);
    assert_eq!(said.status.code(), Some(0));
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let warnings: Vec<_> =
        said.lines().filter(|line| line.contains("\"to\" leads to no answer")).collect();
    assert_eq!(warnings.len(), doubtful.len(), "{said}");
    for ((route, example, ifs), warning) in doubtful.iter().zip(warnings) {
        let expected = format!("{example}, and from there on without an end, {ifs}");
        assert!(warning.ends_with(&expected), "{route}: {warning}");
    }
}

#[test]
fn a_redirect_that_ends_or_leads_to_what_is_not_known_is_no_fault() {
    let world = start(&[
        // It gets shorter, or leads to another route.
        "path = \"/old/{*rest}\"\nredirect.to = \"/{rest}\"",
        "path = \"/{lang}/home\"\nredirect.to = \"/en/home\"",
        "path = \"/en/home\"\nrespond.body = \"home\"",
        "path = \"/deep/{*rest}\"\nredirect.to = \"/deep/er/{rest}\"",
        "path = \"/deep/er/{*rest}\"\nrespond.body = \"deeper\"",
        // A form that is answered with what it leads to.
        "path = \"/form\"\nmethods = [\"POST\"]\nredirect = { to = \"/form\", status = 303 }",
        "path = \"/form\"\nmethods = [\"GET\"]\nrespond.body = \"form\"",
        // What chooses the route is there no more.
        "path = \"/when\"\nwhen.query = { a = true }\n\
         redirect = { to = \"/when\", keep_query = false }",
        "path = \"/when\"\nrespond.body = \"when\"",
        "path = \"/unless\"\nwhen.query = { a = false }\nredirect.to = \"/unless?a=1\"",
        "path = \"/unless\"\nrespond.body = \"unless\"",
        "scheme = \"http\"\npath = \"/tls\"\nredirect.to = \"https://{host}/tls\"",
        // Another server, or another port, may be another program's.
        "path = \"/away/{*rest}\"\nredirect.to = \"https://www.example.com/away/{rest}\"",
        "path = \"/port\"\nredirect.to = \"https://{host}:8443/port\"",
    ]);
    for (method, path, status, led) in [
        ("GET", "/old/old/x", 308, Some("/old/x")),
        ("GET", "/old/x", 308, Some("/x")),
        ("GET", "/de/home", 308, Some("/en/home")),
        ("GET", "/en/home", 200, None),
        ("GET", "/deep/x", 308, Some("/deep/er/x")),
        ("GET", "/deep/er/x", 200, None),
        ("POST", "/form", 303, Some("/form")),
        ("GET", "/form", 200, None),
        ("GET", "/when?a=1", 308, Some("/when")),
        ("GET", "/when", 200, None),
        ("GET", "/unless", 308, Some("/unless?a=1")),
        ("GET", "/unless?a=1", 200, None),
        ("GET", "/tls", 308, Some("https://a.example/tls")),
        ("GET", "/away/x", 308, Some("https://www.example.com/away/x")),
        ("GET", "/port", 308, Some("https://a.example:8443/port")),
    ] {
        let answer = world.ask(method, path, "", "");
        assert_eq!(answer.status, status, "{method} {path}: {answer}");
        assert_eq!(answer.fields.one("location").as_deref(), led, "{method} {path}: {answer}");
    }
}
