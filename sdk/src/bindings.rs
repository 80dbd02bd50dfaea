//! The contract in Rust, generated from `wit/rules.wit`: its types and imports once, each rule's exports beside them.

wit_bindgen::generate!({
    path: "wit",
    world: "capabilities",
    additional_derives: [PartialEq],
});

#[cfg(target_arch = "wasm32")]
pub mod check_back_plugin {
    //! The exports of a plugin that answers for transactions.
    wit_bindgen::generate!({
        path: "wit",
        world: "check-back-plugin",
        export_macro_name: "export_check_back",
        pub_export_macro: true,
        with: {
            "avouch:rules/types@1.0.0": crate::bindings::avouch::rules::types,
            "avouch:rules/sql@1.0.0": crate::bindings::avouch::rules::sql,
            "avouch:rules/http@1.0.0": crate::bindings::avouch::rules::http,
            "avouch:rules/nats@1.0.0": crate::bindings::avouch::rules::nats,
            "avouch:rules/config@1.0.0": crate::bindings::avouch::rules::config,
            "avouch:rules/log@1.0.0": crate::bindings::avouch::rules::log,
            "avouch:rules/clock@1.0.0": crate::bindings::avouch::rules::clock,
        },
    });
}

#[cfg(target_arch = "wasm32")]
pub mod idempotency_plugin {
    //! The exports of a plugin that recognises repeated work.
    wit_bindgen::generate!({
        path: "wit",
        world: "idempotency-plugin",
        export_macro_name: "export_idempotency",
        pub_export_macro: true,
        with: {
            "avouch:rules/types@1.0.0": crate::bindings::avouch::rules::types,
            "avouch:rules/sql@1.0.0": crate::bindings::avouch::rules::sql,
            "avouch:rules/http@1.0.0": crate::bindings::avouch::rules::http,
            "avouch:rules/nats@1.0.0": crate::bindings::avouch::rules::nats,
            "avouch:rules/config@1.0.0": crate::bindings::avouch::rules::config,
            "avouch:rules/log@1.0.0": crate::bindings::avouch::rules::log,
            "avouch:rules/clock@1.0.0": crate::bindings::avouch::rules::clock,
        },
    });
}

pub mod notification_plugin {
    //! The exports of a plugin that tells outside parties. On native targets, too: its records belong to the rule.
    wit_bindgen::generate!({
        path: "wit",
        world: "notification-plugin",
        export_macro_name: "export_notification",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        with: {
            "avouch:rules/types@1.0.0": crate::bindings::avouch::rules::types,
            "avouch:rules/sql@1.0.0": crate::bindings::avouch::rules::sql,
            "avouch:rules/http@1.0.0": crate::bindings::avouch::rules::http,
            "avouch:rules/nats@1.0.0": crate::bindings::avouch::rules::nats,
            "avouch:rules/config@1.0.0": crate::bindings::avouch::rules::config,
            "avouch:rules/log@1.0.0": crate::bindings::avouch::rules::log,
            "avouch:rules/clock@1.0.0": crate::bindings::avouch::rules::clock,
        },
    });
}
