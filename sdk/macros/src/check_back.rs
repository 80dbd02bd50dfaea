//! `#[check_back]`: a function becomes the export `avouch:rules/check-back`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Ident, ItemFn};

use crate::signature::{Shape, assert_type, with_error, without_arguments};

const CHECK: Shape = Shape {
    attribute: "check_back",
    written: "fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError>",
    arguments: 2,
};

pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match function(arguments, item.clone()) {
        Ok(function) => {
            let added = exported(&function);
            quote! { #item #added }
        }
        Err(error) => with_error(item, &error),
    }
}

fn function(arguments: TokenStream, item: TokenStream) -> Result<Ident, Error> {
    without_arguments("check_back", arguments)?;
    let function: ItemFn = syn::parse2(item)
        .map_err(|e| Error::new(e.span(), format!("`#[check_back]` goes on a function: `{}`", CHECK.written)))?;
    CHECK.verify(&function.sig)?;
    Ok(function.sig.ident)
}

fn exported(check: &Ident) -> TokenStream {
    let assertion = assert_type(
        check,
        quote! {
            fn(&::avouch_sdk::Transaction, &::avouch_sdk::Context)
                -> ::core::result::Result<::avouch_sdk::Verdict, ::avouch_sdk::RuleError>
        },
    );
    quote! {
        #assertion
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct CheckBack;
            impl ::avouch_sdk::__private::check_back::Guest for CheckBack {
                fn check(
                    tx: ::avouch_sdk::Transaction,
                ) -> ::core::result::Result<::avouch_sdk::Verdict, ::avouch_sdk::RuleError> {
                    let cx = ::avouch_sdk::__private::enter();
                    #check(&tx, &cx)
                }
            }
            ::avouch_sdk::__private::export_check_back!(
                CheckBack with_types_in ::avouch_sdk::__private::check_back_plugin
            );
        };
    }
}
