/**
 * The readers of what strangers write, each with the promises that it keeps whatever it reads.
 */
import { assert } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Demand from "../../src/Demand.ts"
import { maxMerchantText, type Offer } from "../../src/Offer.ts"
import * as Hints from "../../src/wire/Hints.ts"
import * as Json from "../../src/wire/Json.ts"
import * as AcceptPayment from "../../src/wire/mpp/AcceptPayment.ts"
import * as AuthScheme from "../../src/wire/mpp/AuthScheme.ts"
import * as BodyDigest from "../../src/wire/mpp/BodyDigest.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Channel from "../../src/wire/mpp/Channel.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as EvmCharge from "../../src/wire/mpp/EvmCharge.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as SeedChallenge from "../../src/wire/mpp/SeedChallenge.ts"
import * as TempoCharge from "../../src/wire/mpp/TempoCharge.ts"
import * as TempoSession from "../../src/wire/mpp/TempoSession.ts"
import * as TempoTransaction from "../../src/wire/mpp/TempoTransaction.ts"
import * as Voucher from "../../src/wire/mpp/Voucher.ts"

/** Cheaper than an assertion, of which there are tens of millions. */
export function check(holds: boolean, what: string): asserts holds {
  if (!holds) assert.fail(what)
}

const unclean = /[\p{C}\u2028\u2029]/u
const word = /^[\x21-\x7e]{0,256}$/
const address = /^0x[0-9a-f]{40}$/
const maxUnits = 2n ** 256n - 1n

const checkText = (text: string | undefined, what: string) => {
  if (text === undefined) return
  check(!unclean.test(text), `${what} has control characters`)
  check(text.length <= 2 * maxMerchantText, `${what} is long`)
}

const checkUnits = (units: bigint, what: string) => check(units >= 0n && units <= maxUnits, what)

const checkOffer = (offer: Offer, line: string | undefined) => {
  checkUnits(offer.units, "the price")
  checkText(offer.merchantText, "merchantText")
  check(offer.merchantText !== "", "merchantText is empty")
  for (const shown of [offer.asset, offer.payee, offer.network]) check(word.test(shown), `${shown} is no word`)
  check(!unclean.test(offer.realm ?? "") && (offer.realm ?? "").length <= 255, "the realm")
  check(Number.isSafeInteger(offer.expiresAt ?? 0) && (offer.expiresAt ?? 0) >= 0, "the expiry")
  if (offer.protocol === "mpp") {
    const challenge = Option.getOrThrow(Challenge.fromOffer(offer))
    check(
      line !== undefined && (line.includes(challenge.request) || line.includes("\\")),
      "the request is not as received"
    )
    check(Option.getOrThrow(Challenge.requestOf(challenge)).amount === offer.units.toString(), "another price")
    check(/^(payment-)?authorization$/i.test(challenge.header ?? "authorization"), "another header")
  }
  if (offer.protocol === "mpp/1.0") {
    check(Option.getOrThrow(SeedChallenge.fromOffer(offer)).priceUsdc === offer.units, "another price")
  }
}

const checkReceipt = (receipt: Demand.Receipt | Receipt.Receipt) => {
  if (receipt.protocol === "mpp") {
    for (const text of [receipt.method, receipt.reference, receipt.timestamp]) checkText(text, "the receipt")
  }
  if (receipt.protocol === "mpp/1.0") checkUnits(receipt.amount, "the receipt's amount")
}

export const readDemand = (answer: Demand.Answer): Demand.Demand => {
  const demand = Demand.read(answer, 1_700_000_000_000)
  check(demand.offers.length <= Demand.maxOffers && demand.refused.length <= Demand.maxOffers, "too many offers")
  check(answer.status === 402 || demand.offers.length + demand.refused.length === 0, "offers without a 402")
  check(demand.hints.length <= Hints.maxHints, "too many hints")
  for (const hint of demand.hints) check(!unclean.test(hint), "a hint")
  for (const offer of demand.offers) checkOffer(offer, answer.headers["www-authenticate"])
  for (const { what, why } of demand.refused) check(!unclean.test(what) && !unclean.test(why), "a reason")
  Option.map(demand.receipt, checkReceipt)
  Option.map(demand.problem, ({ code, merchantText }) => {
    check(/^[a-z0-9_/-]{1,80}$/.test(code), "a code that is none")
    checkText(merchantText, "the problem")
  })
  Option.map(demand.retryAfter, (wait) => check(wait >= 0 && wait <= Demand.maxRetryAfter, "the wait"))
  return demand
}

const checkHeld = (units: bigint) => check(units >= 0n && units <= Channel.maxUnits, "more than a channel can hold")

const checkSnapshot = (snapshot: TempoSession.Snapshot) => {
  const { acceptedCumulative, chainId, deposit, descriptor, escrow, requiredCumulative, settled, spent } = snapshot
  for (const units of [acceptedCumulative, deposit, requiredCumulative, settled, spent]) checkHeld(units)
  check(/^0x[0-9a-f]{64}$/.test(Channel.id(descriptor, { chainId, escrow })), "the channel's id")
}

export const readSnapshot = (header: string): boolean => {
  const snapshot = Option.getOrUndefined(TempoSession.decodeSnapshot(header))
  if (snapshot === undefined) return false
  checkSnapshot(snapshot)
  const written = TempoSession.encodeSnapshot(snapshot)
  const again = TempoSession.encodeSnapshot(Option.getOrThrow(TempoSession.decodeSnapshot(written)))
  check(again === written, "no echo")
  return true
}

export const readEvent = (data: string): boolean => {
  const need = Option.getOrUndefined(TempoSession.decodeNeedVoucher(data))
  if (need !== undefined) {
    for (const units of [need.acceptedCumulative, need.deposit, need.requiredCumulative]) checkHeld(units)
  }
  return need !== undefined || Option.isSome(TempoSession.decodeReceiptEvent(data))
}

export const readChallenge = (challenge: Challenge.Challenge): boolean => {
  const tempo = TempoCharge.fromChallenge(challenge)
  if (Result.isSuccess(tempo)) {
    const { amount, currency, methodDetails, recipient } = tempo.success
    const transfers = TempoCharge.transfers(tempo.success, `0x${"00".repeat(32)}`)
    check(transfers.reduce((sum, { units }) => sum + units, 0n) === amount, "the transfers are not the price")
    check(transfers.length <= 1 + TempoCharge.maxSplits, "too many transfers")
    for (const { to, units } of transfers) check(address.test(to) && (units > 0n || amount === 0n), "a transfer")
    check(address.test(currency) && address.test(recipient), "an address")
    check(Number.isSafeInteger(methodDetails?.chainId ?? 1) && (methodDetails?.chainId ?? 1) > 0, "the chain")
  }
  const evm = EvmCharge.fromChallenge(challenge)
  if (Result.isSuccess(evm)) {
    checkUnits(evm.success.amount, "the price")
    check(address.test(evm.success.currency) && address.test(evm.success.recipient), "an address")
    check(EvmCharge.nonce(challenge).length === 66, "the nonce")
  }
  const session = TempoSession.fromChallenge(challenge)
  if (Result.isSuccess(session)) {
    const { amount, currency, methodDetails, recipient, suggestedDeposit } = session.success
    check(amount > 0n, "a price of nothing")
    for (const units of [amount, suggestedDeposit ?? 0n, methodDetails.minVoucherDelta ?? 0n]) checkHeld(units)
    check(address.test(currency) && address.test(recipient), "an address")
    if (methodDetails.sessionProtocol === "v2") {
      check(methodDetails.chainId > 0 && address.test(methodDetails.escrowContract), "the channel's place")
      if (methodDetails.sessionSnapshot !== undefined) checkSnapshot(methodDetails.sessionSnapshot)
    }
  }
  return [tempo, evm, session].some(({ _tag }) => _tag === "Success")
}

export const readLine = (line: string) => {
  const outcomes = Challenge.parse(line)
  check(outcomes.length <= AuthScheme.maxChallenges + 1, "too many challenges")
  for (const outcome of outcomes) {
    if (outcome._tag === "Malformed") check(!unclean.test(outcome.why), "a reason")
    if (outcome._tag !== "Standard") continue
    const { challenge } = outcome
    check(challenge.id !== "" && !unclean.test(challenge.id), "the id")
    check(/^[a-z][a-z0-9:_-]*$/.test(challenge.method), "the method")
    check(challenge.request.length <= Challenge.maxRequestLength, "the request is long")
    check(Json.isObject(outcome.request), "the request is no object")
    readChallenge(challenge)
    const [again] = Challenge.parse(Challenge.format(challenge))
    check(again?._tag === "Standard" && JSON.stringify(again.challenge) === JSON.stringify(challenge), "no echo")
  }
}

const isTempoPayload = Schema.decodeUnknownOption(TempoCharge.Payload)
const readSessionPayload = Schema.decodeUnknownOption(TempoSession.Payload)
const isEvmPayload = Schema.decodeUnknownOption(EvmCharge.Payload)

export const readCredential = (header: string): boolean => {
  const presented = Option.getOrUndefined(Credential.parse(header))
  if (presented?._tag === "Malformed") check(!unclean.test(presented.why), "a reason")
  if (presented?._tag === "Token") check(header.includes(Redacted.value(presented.token)), "another token")
  if (presented?._tag !== "Standard") return false
  const { challenge, payload } = presented.credential
  const again = Option.getOrUndefined(Credential.parse(Redacted.value(Credential.format(presented.credential))))
  check(JSON.stringify(again) === JSON.stringify(presented), "no echo")
  isTempoPayload(payload)
  isEvmPayload(payload)
  const paid = Option.getOrUndefined(readSessionPayload(payload))
  if (paid?.action === "topUp") checkHeld(paid.additionalDeposit)
  else if (paid !== undefined) {
    checkHeld(paid.cumulativeAmount)
    Voucher.parseSignature(paid.signature)
  }
  readChallenge(challenge)
  return true
}

export const readReceipt = (header: string): boolean => {
  const receipt = Option.getOrUndefined(Receipt.decode(header))
  if (receipt !== undefined) {
    checkReceipt(receipt)
    Option.map(TempoSession.receiptOf(receipt), ({ acceptedCumulative, spent }) => {
      checkHeld(acceptedCumulative)
      checkHeld(spent)
    })
  }
  return receipt !== undefined
}

export const readAccepted = (header: string): boolean => {
  const ranges = Option.getOrUndefined(AcceptPayment.parse(header))
  if (ranges === undefined) return false
  check(ranges.length > 0 && ranges.length <= AcceptPayment.maxRanges, "the number of ranges")
  const quality = AcceptPayment.quality(ranges, "tempo", "charge")
  check(quality >= 0 && quality <= 1, "a quality")
  const again = AcceptPayment.parse(AcceptPayment.format(ranges))
  check(JSON.stringify(Option.getOrThrow(again)) === JSON.stringify(ranges), "no echo")
  return true
}

export const readTransaction = (signed: string): boolean => {
  const decoded = Option.getOrUndefined(TempoTransaction.decode(signed))
  if (decoded === undefined) return false
  check(address.test(decoded.from) && decoded.chainId > 0 && decoded.calls.length > 0, "a transaction")
  check(!decoded.sponsored || decoded.feeToken === undefined, "a fee token that nobody signed for")
  return true
}

const body = new TextEncoder().encode("{\"amount\":\"1000\"}")
export const digest = BodyDigest.of(body)
export const hash = digest.slice("sha-256=:".length, -1)

export const readDigest = (text: string): boolean => {
  const matches = BodyDigest.matches(text, body)
  check(!matches || text.includes(hash), "another digest")
  return matches
}
