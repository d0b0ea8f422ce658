/**
 * Machine payments for Effect programs: an agent asks for a resource, is told `402 Payment Required`, and this library
 * pays for it, by a session where one serves and by x402 where it does not, always within a budget and never twice.
 *
 * @since 0.1.0
 */
export * as Agent from "./Agent.ts"
export * as Amount from "./Amount.ts"
export * as Asset from "./Asset.ts"
export * as Budget from "./Budget.ts"
export * as Chain from "./Chain.ts"
export * as Choice from "./Choice.ts"
export * as Demand from "./Demand.ts"
export * as Exchange from "./Exchange.ts"
export * as Foreign from "./Foreign.ts"
export * as Ledger from "./Ledger.ts"
export * as Movement from "./Movement.ts"
export * as Offer from "./Offer.ts"
export * as PayingClient from "./PayingClient.ts"
export * as Payment from "./Payment.ts"
export * as PaymentError from "./PaymentError.ts"
export * as Policy from "./Policy.ts"
export * as Rails from "./Rails.ts"
export * as EvmCharge from "./rails/EvmCharge.ts"
export * as ExactEvm from "./rails/ExactEvm.ts"
export * as Mppx from "./rails/Mppx.ts"
export * as TempoCharge from "./rails/TempoCharge.ts"
export * as TokenSession from "./rails/TokenSession.ts"
export * as Reconciler from "./Reconciler.ts"
export * as RetryPolicy from "./RetryPolicy.ts"
export * as Session from "./Session.ts"
export * as Telemetry from "./Telemetry.ts"
export * as Transport from "./Transport.ts"
export * as Wallet from "./Wallet.ts"
