//! `#[derive(DomainEvent)]`: each variant's fields become a hidden struct, the event's data.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Error, Fields, Ident, LitInt, Result, Variant};

use crate::attributes::documentation;

struct Arm {
    name: String,
    version: u32,
    description: String,
    /// The type of the data.
    data: TokenStream,
    /// The hidden struct, where the variant does not name a type.
    declaration: TokenStream,
    /// Matches the variant and binds what it holds.
    pattern: TokenStream,
    /// Makes the data of what was bound.
    to_data: TokenStream,
    /// Makes the variant of `data`.
    from_data: TokenStream,
}

fn schema_version(variant: &Variant) -> Result<u32> {
    let mut version = 1;
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("version") {
                return Err(meta.error("an event takes version"));
            }
            let literal: LitInt = meta.value()?.parse()?;
            version = literal.base10_parse()?;
            if version == 0 { Err(Error::new(literal.span(), "versions begin with 1")) } else { Ok(()) }
        })?;
    }
    Ok(version)
}

fn kept(attributes: &[Attribute]) -> Vec<&Attribute> {
    let names = ["doc", "serde", "schemars"];
    attributes.iter().filter(|attribute| names.iter().any(|name| attribute.path().is_ident(name))).collect()
}

fn arm(variant: &Variant) -> Result<Arm> {
    let (ident, name) = (&variant.ident, variant.ident.to_string());
    let description = documentation(&variant.attrs);
    if description.is_empty() {
        return Err(Error::new_spanned(
            ident,
            "say in a documentation comment what happened: it goes into the manifest",
        ));
    }
    let version = schema_version(variant)?;
    let (declaration, data, pattern, to_data, from_data);
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            let inner = &fields.unnamed[0].ty;
            declaration = TokenStream::new();
            data = quote!(#inner);
            pattern = quote!(Self::#ident(inner));
            to_data = quote!(inner);
            from_data = quote!(Self::#ident(data));
        }
        Fields::Unnamed(_) => {
            return Err(Error::new_spanned(ident, "an event's data is a JSON object: name the fields"));
        }
        Fields::Named(_) | Fields::Unit => {
            let hidden = format_ident!("__{ident}Data");
            let fields: Vec<_> = variant.fields.iter().collect();
            let names: Vec<&Ident> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
            let types = fields.iter().map(|field| &field.ty);
            let attributes = fields.iter().map(|field| kept(&field.attrs));
            let attributes = attributes.map(|kept| quote!(#(#kept)*));
            let own = kept(&variant.attrs);
            declaration = quote! {
                #(#own)*
                #[derive(__p::serde::Serialize, __p::serde::Deserialize, __p::schemars::JsonSchema)]
                #[serde(crate = "::cairn_sdk::__private::serde")]
                #[schemars(crate = "::cairn_sdk::__private::schemars", rename = #name)]
                struct #hidden { #(#attributes #names: #types,)* }
            };
            data = quote!(#hidden);
            pattern = if matches!(variant.fields, Fields::Unit) {
                quote!(Self::#ident)
            } else {
                quote!(Self::#ident { #(#names),* })
            };
            to_data = quote!(#hidden { #(#names),* });
            from_data = if matches!(variant.fields, Fields::Unit) {
                quote!({ let #hidden {} = data; Self::#ident })
            } else {
                quote!(Self::#ident { #(#names: data.#names),* })
            };
        }
    }
    Ok(Arm { name, version, description, data, declaration, pattern, to_data, from_data })
}

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "domain events are an enum, one variant for each event type",
        ));
    };
    let ident = &input.ident;
    let enum_name = ident.to_string();
    let arms = data.variants.iter().map(arm).collect::<Result<Vec<_>>>()?;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let names: Vec<_> = arms.iter().map(|arm| &arm.name).collect();
    let versions: Vec<_> = arms.iter().map(|arm| arm.version).collect();
    let descriptions = arms.iter().map(|arm| &arm.description);
    let data: Vec<_> = arms.iter().map(|arm| &arm.data).collect();
    let declarations = arms.iter().map(|arm| &arm.declaration);
    let patterns = arms.iter().map(|arm| &arm.pattern);
    let to_data = arms.iter().map(|arm| &arm.to_data);
    let from_data = arms.iter().map(|arm| &arm.from_data);
    Ok(quote! {
        const _: () = {
            use ::cairn_sdk::__private as __p;
            #(#declarations)*

            impl ::cairn_sdk::events::DomainEvent for #ident {
                fn event_type(&self) -> &'static str {
                    match self { #(Self::#variants { .. } => #names,)* }
                }

                fn schema_version(&self) -> u32 {
                    match self { #(Self::#variants { .. } => #versions,)* }
                }

                fn encode(self) -> ::core::result::Result<::cairn_sdk::events::EncodedEvent, ::cairn_sdk::shared::Fault> {
                    let (event_type, schema_version) = (self.event_type(), self.schema_version());
                    let data = match self { #(#patterns => __p::serde_json::to_vec(&#to_data),)* }?;
                    ::core::result::Result::Ok(::cairn_sdk::events::EncodedEvent { event_type, schema_version, data })
                }

                fn decode(event_type: &str, data: &[u8]) -> ::core::result::Result<Self, ::cairn_sdk::shared::Fault> {
                    match event_type {
                        #(#names => {
                            let data: #data = __p::serde_json::from_slice(data)?;
                            ::core::result::Result::Ok(#from_data)
                        })*
                        other => ::core::result::Result::Err(::cairn_sdk::shared::Fault::new(
                            ::std::format!("`{other}` is no event type of {}", #enum_name),
                        )),
                    }
                }

                fn types() -> ::std::vec::Vec<::cairn_sdk::events::EventType> {
                    ::std::vec![#(::cairn_sdk::events::EventType {
                        name: #names,
                        description: #descriptions,
                        schema_version: #versions,
                        schema: __p::schemars::schema_for!(#data),
                    }),*]
                }

                fn has_type(event_type: &str) -> bool {
                    ::core::matches!(event_type, #(#names)|*)
                }
            }
        };
    })
}
