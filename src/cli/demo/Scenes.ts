/**
 * What goes wrong on purpose: what was injected, what the agent did, and what it cost.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Option from "effect/Option"
import * as Amount from "../../Amount.ts"
import * as Budget from "../../Budget.ts"
import * as Payment from "../../Payment.ts"
import * as PaymentError from "../../PaymentError.ts"
import { Faults, type Visit } from "./Faults.ts"
import { legs, timed } from "./Loopback.ts"
import * as Merchant from "./Merchant.ts"
import * as Payer from "./Payer.ts"
import { dollars, duration, plural, Scene } from "./Report.ts"
import { type PayerName, World } from "./World.ts"
