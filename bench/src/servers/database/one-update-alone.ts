// The same in a process without TypeORM.
import { serve } from '../support/serve.js';
import { driverServer } from './driver-server.js';

serve(driverServer('one UPDATE'));
