//! The functions of the rules, as a plugin's version calls them.

use wasmtime::Store;

use super::limits::Config;
use super::plugin::{Plugin, Rule, bounded};
use super::v1::{
    CheckBackPlugin, CheckBackPluginPre, Decision, Delivery, IdempotencyPlugin, IdempotencyPluginPre, Identity,
    Message, NotificationPlugin, NotificationPluginPre, NotificationResponse, Outcome, RuleError, Seen, ShapedRequest,
    State, Transaction, Verdict,
};
use super::{Fault, notification};

/// A call of one function of a rule.
pub trait Call: Sync {
    /// How instances of the rule are made.
    type Pre: Sync;
    /// An instance of the rule.
    type Instance: Send;
    /// What the function answers.
    type Answer: Send;
    /// The rule's name, for people.
    const RULE: &'static str;

    /// The rule of this plugin.
    fn rule(plugin: &Plugin) -> Option<&Rule<Self::Pre, Self::Instance>>;
    /// A fresh instance.
    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<State>,
    ) -> impl Future<Output = wasmtime::Result<Self::Instance>> + Send;
    /// The call itself.
    fn call(
        &self,
        store: &mut Store<State>,
        instance: &Self::Instance,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Answer, RuleError>>> + Send;
    /// The answer with its texts cut to what is kept, or what is wrong with it.
    fn accepted(answer: Self::Answer, _limits: &Config) -> Result<Self::Answer, Fault> {
        Ok(answer)
    }
}

/// Did this transaction happen?
pub struct Check<'a>(pub &'a Transaction);

impl Call for Check<'_> {
    type Pre = CheckBackPluginPre<State>;
    type Instance = CheckBackPlugin;
    type Answer = Verdict;
    const RULE: &'static str = "check-back";

    fn rule(plugin: &Plugin) -> Option<&Rule<Self::Pre, Self::Instance>> {
        plugin.exports.check_back.as_ref()
    }

    // Not async functions of their own: each would move the call's state once more.
    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<State>,
    ) -> impl Future<Output = wasmtime::Result<Self::Instance>> + Send {
        pre.instantiate_async(store)
    }

    fn call(
        &self,
        store: &mut Store<State>,
        instance: &Self::Instance,
    ) -> impl Future<Output = wasmtime::Result<Result<Verdict, RuleError>>> + Send {
        instance.avouch_rules_check_back().call_check(store, self.0)
    }

    fn accepted(verdict: Verdict, _limits: &Config) -> Result<Verdict, Fault> {
        Ok(match verdict {
            Verdict::Rollback(why) => Verdict::Rollback(bounded(why)),
            other => other,
        })
    }
}

/// What makes a message the same piece of work as another, for a consumer?
pub struct Identify<'a>(pub &'a str, pub &'a Message);

impl Call for Identify<'_> {
    type Pre = IdempotencyPluginPre<State>;
    type Instance = IdempotencyPlugin;
    type Answer = Identity;
    const RULE: &'static str = "idempotency";

    fn rule(plugin: &Plugin) -> Option<&Rule<Self::Pre, Self::Instance>> {
        plugin.exports.idempotency.as_ref()
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self::Instance> {
        pre.instantiate_async(store).await
    }

    async fn call(
        &self,
        store: &mut Store<State>,
        instance: &Self::Instance,
    ) -> wasmtime::Result<Result<Identity, RuleError>> {
        instance.avouch_rules_idempotency().call_identify(store, self.0, self.1).await
    }
}

/// What does the consumer do with it, given what is recorded?
pub struct Decide<'a>(pub &'a str, pub &'a Message, pub &'a Seen);

impl Call for Decide<'_> {
    type Pre = IdempotencyPluginPre<State>;
    type Instance = IdempotencyPlugin;
    type Answer = Decision;
    const RULE: &'static str = "idempotency";

    fn rule(plugin: &Plugin) -> Option<&Rule<Self::Pre, Self::Instance>> {
        plugin.exports.idempotency.as_ref()
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self::Instance> {
        pre.instantiate_async(store).await
    }

    async fn call(
        &self,
        store: &mut Store<State>,
        instance: &Self::Instance,
    ) -> wasmtime::Result<Result<Decision, RuleError>> {
        instance.avouch_rules_idempotency().call_decide(store, self.0, self.1, self.2).await
    }

    fn accepted(decision: Decision, _limits: &Config) -> Result<Decision, Fault> {
        Ok(match decision {
            Decision::Skip(why) => Decision::Skip(bounded(why)),
            Decision::Reject(why) => Decision::Reject(bounded(why)),
            Decision::Conflict(why) => Decision::Conflict(bounded(why)),
            other => other,
        })
    }
}

/// What is sent to an outside party?
pub struct Shape<'a>(pub &'a Delivery);

impl Call for Shape<'_> {
    type Pre = NotificationPluginPre<State>;
    type Instance = NotificationPlugin;
    type Answer = ShapedRequest;
    const RULE: &'static str = "notification";

    fn rule(plugin: &Plugin) -> Option<&Rule<Self::Pre, Self::Instance>> {
        plugin.exports.notification.as_ref()
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self::Instance> {
        pre.instantiate_async(store).await
    }

    async fn call(
        &self,
        store: &mut Store<State>,
        instance: &Self::Instance,
    ) -> wasmtime::Result<Result<ShapedRequest, RuleError>> {
        instance.avouch_rules_notification().call_shape(store, self.0).await
    }

    fn accepted(request: ShapedRequest, limits: &Config) -> Result<ShapedRequest, Fault> {
        match notification::verify(&request, limits.bytes_out_max) {
            Ok(()) => Ok(request),
            Err(why) => Err(Fault::Broken(bounded(why))),
        }
    }
}

/// What does its answer mean?
pub struct Read<'a>(pub &'a Delivery, pub &'a NotificationResponse);

impl Call for Read<'_> {
    type Pre = NotificationPluginPre<State>;
    type Instance = NotificationPlugin;
    type Answer = Outcome;
    const RULE: &'static str = "notification";

    fn rule(plugin: &Plugin) -> Option<&Rule<Self::Pre, Self::Instance>> {
        plugin.exports.notification.as_ref()
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self::Instance> {
        pre.instantiate_async(store).await
    }

    async fn call(
        &self,
        store: &mut Store<State>,
        instance: &Self::Instance,
    ) -> wasmtime::Result<Result<Outcome, RuleError>> {
        instance.avouch_rules_notification().call_read(store, self.0, self.1).await
    }

    fn accepted(outcome: Outcome, _limits: &Config) -> Result<Outcome, Fault> {
        Ok(match outcome {
            Outcome::GiveUp(why) => Outcome::GiveUp(bounded(why)),
            other => other,
        })
    }
}
