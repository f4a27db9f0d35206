//! `#[derive(Command)]` and `#[derive(Query)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Type, parse_quote};

use crate::attributes::{denies_unknown_fields, documentation, snake_case};

#[derive(Default)]
struct CommandOptions {
    name: Option<LitStr>,
    full_name: Option<LitStr>,
    permission: Option<LitStr>,
    response: Option<Type>,
    creates: bool,
    internal: bool,
}

fn command_options(input: &DeriveInput) -> Result<CommandOptions> {
    let mut options = CommandOptions::default();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("command")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                options.name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("full_name") {
                options.full_name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("permission") {
                options.permission = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("response") {
                options.response = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("creates") {
                options.creates = true;
            } else if meta.path.is_ident("internal") {
                options.internal = true;
            } else {
                return Err(
                    meta.error("a command takes name, full_name, permission, response, creates, internal")
                );
            }
            Ok(())
        })?;
    }
    Ok(options)
}

fn permission_variant(permission: &LitStr) -> Result<syn::Ident> {
    let variant = match permission.value().as_str() {
        "read" => "Read",
        "write" => "Write",
        "delete" => "Delete",
        "share" => "Share",
        "admin" => "Admin",
        _ => {
            return Err(Error::new(permission.span(), "a permission is read, write, delete, share or admin"));
        }
    };
    Ok(format_ident!("{variant}"))
}

/// The documentation comment, which the manifest needs.
fn description(input: &DeriveInput, what: &str) -> Result<String> {
    let description = documentation(&input.attrs);
    if description.is_empty() {
        let message =
            format!("say in a documentation comment what this {what} is for: it goes into the manifest");
        return Err(Error::new_spanned(&input.ident, message));
    }
    Ok(description)
}

fn refuses_unknown_fields(input: &DeriveInput) -> Result<()> {
    if denies_unknown_fields(&input.attrs) {
        return Ok(());
    }
    let message = "a misspelt field must not be ignored: add #[serde(deny_unknown_fields)] below the derive";
    Err(Error::new_spanned(&input.ident, message))
}

pub fn derive_command(input: &DeriveInput) -> Result<TokenStream> {
    refuses_unknown_fields(input)?;
    let options = command_options(input)?;
    let description = description(input, "command")?;
    let (ident, snake) = (&input.ident, snake_case(&input.ident.to_string()));
    let full_name = options.full_name.map_or(snake, |name| name.value());
    let name = options.name.map_or_else(|| full_name.clone(), |name| name.value());
    let permission = match &options.permission {
        Some(permission) => {
            let variant = permission_variant(permission)?;
            quote!(::core::option::Option::Some(::cairn_sdk::domain::Permission::#variant))
        }
        None => quote!(::core::option::Option::None),
    };
    let response = options.response.unwrap_or_else(|| parse_quote!(()));
    let (creates, internal) = (options.creates, options.internal);
    let validations = validations(input)?;
    Ok(quote! {
        impl ::cairn_sdk::cqrs::Command for #ident {
            type Response = #response;
            const NAME: &'static str = #name;
            const FULL_NAME: &'static str = #full_name;
            const DESCRIPTION: &'static str = #description;
            const PERMISSION: ::core::option::Option<::cairn_sdk::domain::Permission> = #permission;
            const CREATES: bool = #creates;
            const INTERNAL: bool = #internal;
        }

        impl ::cairn_sdk::cqrs::Validate for #ident {
            fn validate(&self, errors: &mut ::std::vec::Vec<::cairn_sdk::shared::FieldError>) {
                let _ = &errors;
                #(#validations)*
            }
        }
    })
}

/// Validates the marked fields, each below its own pointer.
fn validations(input: &DeriveInput) -> Result<Vec<TokenStream>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "a command is a struct"));
    };
    let fields = match &data.fields {
        Fields::Named(fields) => fields.named.iter(),
        _ => {
            return Err(Error::new_spanned(&input.ident, "a command has named fields, as JSON objects have"));
        }
    };
    let marked =
        fields.filter(|field| field.attrs.iter().any(|attribute| attribute.path().is_ident("validate")));
    Ok(marked
        .map(|field| {
            let (ident, name) = (&field.ident, field.ident.as_ref().map(ToString::to_string));
            quote! {
                let mut own = ::std::vec::Vec::new();
                ::cairn_sdk::cqrs::Validate::validate(&self.#ident, &mut own);
                errors.extend(own.into_iter().map(|error| error.below(#name)));
            }
        })
        .collect())
}

pub fn derive_query(input: &DeriveInput) -> Result<TokenStream> {
    refuses_unknown_fields(input)?;
    let description = description(input, "query")?;
    let (mut name, mut response): (Option<LitStr>, Option<Type>) = (None, None);
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("query")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("response") {
                response = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error("a query takes name and response"));
            }
            Ok(())
        })?;
    }
    let ident = &input.ident;
    let response = response.ok_or_else(|| Error::new_spanned(ident, "add #[query(response = …)]"))?;
    let name = name.map_or_else(|| snake_case(&ident.to_string()), |name| name.value());
    Ok(quote! {
        impl ::cairn_sdk::cqrs::Query for #ident {
            type Response = #response;
            const NAME: &'static str = #name;
            const DESCRIPTION: &'static str = #description;
        }
    })
}
