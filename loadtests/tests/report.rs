//! Reports of made runs: what a person, a spreadsheet, a program and a browser are told.

#[path = "report/again.rs"]
mod again;
#[path = "report/pages.rs"]
mod pages;
#[path = "report/runs.rs"]
mod runs;
#[path = "report/schema.rs"]
mod schema;
#[path = "report/tables.rs"]
mod tables;
#[path = "report/text.rs"]
mod text;
