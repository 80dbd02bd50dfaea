//! `#[idempotency]`: a module with two marked functions becomes the export `avouch:rules/idempotency`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Error, Ident, Item, ItemMod};

use crate::marks::{marked, on_a_module, put_into};
use crate::signature::{Shape, assert_type, with_error, without_arguments};

const IDENTIFY: Shape = Shape {
    attribute: "identify",
    written: "fn identify(consumer: &str, m: &Message, cx: &Context) -> Result<Identity, RuleError>",
    arguments: 3,
};

const DECIDE: Shape = Shape {
    attribute: "decide",
    written: "fn decide(consumer: &str, m: &Message, seen: &Seen, cx: &Context) -> Result<Decision, RuleError>",
    arguments: 4,
};

/// The names of the marked functions.
struct Rule {
    identify: Ident,
    decide: Option<Ident>,
}

pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // What is no item at all is left to the compiler, which says best why.
    let Ok(parsed) = syn::parse2::<Item>(item.clone()) else { return item };
    let Item::Mod(mut module) = parsed else {
        return with_error(item, &on_a_module("idempotency", parsed.span()));
    };
    match rule(arguments, &mut module) {
        Ok(rule) => put_into(&mut module, exported(&rule)),
        Err(error) => put_into(&mut module, error.to_compile_error()),
    }
    module.into_token_stream()
}

/// Takes the marks off the module's functions and tells which ones they were on.
fn rule(arguments: TokenStream, module: &mut ItemMod) -> Result<Rule, Error> {
    let name = module.ident.clone();
    let Some((_, items)) = &mut module.content else {
        return Err(on_a_module("idempotency", name.span()));
    };
    // Both are looked for before any error is returned: a mark left behind would be an error of its own.
    let identify = marked(items, &IDENTIFY);
    let decide = marked(items, &DECIDE);
    without_arguments("idempotency", arguments)?;
    let message = format!("module `{name}` needs one function with `#[identify]`: `{}`", IDENTIFY.written);
    Ok(Rule { decide: decide?, identify: identify?.ok_or_else(|| Error::new(name.span(), message))? })
}

fn exported(rule: &Rule) -> TokenStream {
    let identify = &rule.identify;
    let mut assertions = assert_type(
        identify,
        quote! {
            fn(&str, &::avouch_sdk::Message, &::avouch_sdk::Context)
                -> ::core::result::Result<::avouch_sdk::Identity, ::avouch_sdk::RuleError>
        },
    );
    let mut decision = quote! { ::core::result::Result::Ok(::avouch_sdk::Decision::by_default(&seen)) };
    if let Some(decide) = &rule.decide {
        assertions.extend(assert_type(
            decide,
            quote! {
                fn(&str, &::avouch_sdk::Message, &::avouch_sdk::Seen, &::avouch_sdk::Context)
                    -> ::core::result::Result<::avouch_sdk::Decision, ::avouch_sdk::RuleError>
            },
        ));
        decision = quote! { #decide(&consumer, &m, &seen, &cx) };
    }
    quote! {
        #assertions
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Idempotency;
            impl ::avouch_sdk::__private::idempotency::Guest for Idempotency {
                fn identify(
                    consumer: ::std::string::String,
                    m: ::avouch_sdk::Message,
                ) -> ::core::result::Result<::avouch_sdk::Identity, ::avouch_sdk::RuleError> {
                    let cx = ::avouch_sdk::__private::enter();
                    #identify(&consumer, &m, &cx)
                }

                fn decide(
                    consumer: ::std::string::String,
                    m: ::avouch_sdk::Message,
                    seen: ::avouch_sdk::Seen,
                ) -> ::core::result::Result<::avouch_sdk::Decision, ::avouch_sdk::RuleError> {
                    let cx = ::avouch_sdk::__private::enter();
                    let _ = (&consumer, &m, &cx);
                    #decision
                }
            }
            ::avouch_sdk::__private::export_idempotency!(
                Idempotency with_types_in ::avouch_sdk::__private::idempotency_plugin
            );
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(item: TokenStream) -> String {
        expand(TokenStream::new(), item).to_string()
    }

    #[test]
    fn the_marks_are_taken_off_and_both_functions_are_exported() {
        let expanded = on(quote! {
            mod rule {
                #[identify]
                fn who(consumer: &str, m: &Message, cx: &Context) -> Result<Identity, RuleError> { todo!() }
                #[avouch_sdk::decide]
                fn what(consumer: &str, m: &Message, seen: &Seen, cx: &Context) -> Result<Decision, RuleError> { todo!() }
            }
        });
        assert!(!expanded.contains("# [identify]") && !expanded.contains("decide]"), "{expanded}");
        assert!(expanded.contains("who (& consumer , & m , & cx)"));
        assert!(expanded.contains("what (& consumer , & m , & seen , & cx)"));
        assert!(expanded.contains("export_idempotency") && !expanded.contains("compile_error"));
    }

    #[test]
    fn without_decide_the_default_decides() {
        let expanded = on(quote! { mod rule { #[identify] fn identify(c: &str, m: &Message, cx: &Context) -> R {} } });
        assert!(expanded.contains("Decision :: by_default (& seen)"));
    }

    #[test]
    fn a_wrong_module_is_told_what_is_right() {
        let wrong = [
            (quote! { mod rule {} }, "needs one function with `#[identify]`"),
            (quote! { mod rule; }, "goes on a module with its body"),
            (quote! { fn rule() {} }, "goes on a module with its body"),
            (quote! { mod rule { #[identify] fn a(m: &Message) -> R {} } }, "it takes 3 arguments, not 1"),
            (
                quote! { mod rule { #[identify(x)] fn a(c: &str, m: &Message, cx: &Context) -> R {} } },
                "unexpected token",
            ),
            (
                quote! {
                    mod rule {
                        #[identify] fn a(c: &str, m: &Message, cx: &Context) -> R {}
                        #[identify] fn b(c: &str, m: &Message, cx: &Context) -> R {}
                    }
                },
                "`a` is `#[identify]` already",
            ),
            (
                quote! {
                    mod rule {
                        #[identify] fn a(c: &str, m: &Message, cx: &Context) -> R {}
                        #[decide] fn b(c: &str, m: &Message, cx: &Context) -> R {}
                    }
                },
                "it takes 4 arguments, not 3",
            ),
        ];
        for (item, expected) in wrong {
            let expanded = on(item);
            assert!(expanded.contains(expected), "{expected}: {expanded}");
            assert!(!expanded.contains("export_idempotency"));
        }
    }
}
