/**
 * Where a Tempo charge can be stopped, and how: its caller gives up, or the process is gone.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as World from "./tempoWorld.ts"

export const points = {
  pull: [
    "rpc eth_chainId",
    "rpc eth_getBlockByNumber",
    "rpc eth_estimateGas",
    "rpc eth_estimateGas answered",
    "rpc eth_call",
    "sign",
    "signed",
    "send",
    "answer"
  ],
  push: [
    "rpc eth_getBlockByNumber",
    "rpc eth_estimateGas",
    "sign",
    "signed",
    "rpc eth_sendRawTransaction",
    "rpc eth_sendRawTransaction answered",
    "rpc eth_getTransactionReceipt",
    "rpc eth_getTransactionReceipt answered",
    "send",
    "answer"
  ]
} as const

export const modes = ["pull", "push"] as const

/** A process cannot be interrupted while it signs: it is stopped for a while there, and not for ever. */
const stopAt = ({ stops, waits }: World.World, point: string, isCrash: boolean) => {
  if (!isCrash && (point === "sign" || point === "signed")) waits.set(point, Effect.sleep("5 seconds"))
  else stops.add(point)
}

/** Begins a purchase, and gives it up when it has come to the point. */
export const giveUpAt = Effect.fnUntraced(function*(world: World.World, point: string) {
  stopAt(world, point, false)
  const fiber = yield* Effect.forkChild(World.fetch())
  yield* World.pass("1 second")
  assert.isAtLeast(world.reached.get(point) ?? 0, 1, "it never came there")
  yield* World.patiently(Fiber.interrupt(fiber))
  world.stops.clear()
  world.waits.clear()
})

/** Begins a purchase that comes to the point, and goes no further: its process is gone. */
export const crashAt = Effect.fnUntraced(function*(world: World.World, point: string) {
  stopAt(world, point, true)
  yield* Effect.forkDetach(Effect.ignore(World.fetch()))
  yield* World.pass("1 second")
  assert.isAtLeast(world.reached.get(point) ?? 0, 1, "it never came there")
  yield* world.crash
})

/** What is not paid again costs at most one price, and one transaction is all that was ever mined. */
export const onceAtMost = ({ chain, hashes }: World.World) => {
  assert.isAtMost(chain.mined.length, 1)
  assert.isAtMost(new Set(hashes()).size, 1)
}

export const once = (world: World.World) => {
  assert.deepStrictEqual(world.chain.moved, [World.price])
  onceAtMost(world)
}
