//! The derives of cairn-sdk. They are documented where the SDK re-exports them.

mod attributes;
mod command;
mod event;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// See `cairn_sdk::events::DomainEvent`.
#[proc_macro_derive(DomainEvent, attributes(event, serde, schemars))]
pub fn derive_domain_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// See `cairn_sdk::cqrs::Command`.
#[proc_macro_derive(Command, attributes(command, validate))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    command::derive_command(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// See `cairn_sdk::cqrs::Query`.
#[proc_macro_derive(Query, attributes(query))]
pub fn derive_query(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    command::derive_query(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
