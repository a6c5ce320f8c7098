import { Module, type ModuleMetadata } from '@nestjs/common';

/** A module of its own class. */
export function asModule(metadata: ModuleMetadata): new () => object {
  @Module(metadata)
  class AdHocModule {}
  return AdHocModule;
}
