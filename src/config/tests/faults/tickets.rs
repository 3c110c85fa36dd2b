//! The parameter in which a route takes tickets.

use super::*;

#[test]
fn a_ticket_has_a_parameter_of_its_own() {
    expect("credentials.ticket = 'ticket'\n", &[]);
    expect("credentials = { ticket = 'ticket', query = 'token' }\n", &[]);
    expect(
        "credentials = { ticket = 'token', query = 'token' }\n",
        &["1:26: \"ticket\" and \"query\" are the same parameter: what it holds could not be told"],
    );
    expect(
        "credentials.ticket = 'a=b'\n",
        &["1:22: \"ticket\" must be the name of a parameter of the query as in \"ticket\", found \
           \"a=b\""],
    );
    expect(
        "credentials.ticket = ''\n",
        &["1:22: \"ticket\" must be the name of a parameter of the query as in \"ticket\", found \
           \"\": it is empty"],
    );
    expect(
        "credentials.ticket = true\n",
        &["1:22: \"ticket\" must be the name of a parameter of the query as in \"ticket\", found \
           the boolean true"],
    );
}
